//! How many of a thread's requests in progress are each tenant's, so that one whose backend hangs leaves room for the
//! others.

use std::{cell::RefCell, sync::Arc};

use hashbrown::HashMap;

/// One thread's; nothing here is seen by another. It holds who has a request in progress, or had one since the last
/// sweep.
#[derive(Default)]
pub(crate) struct Shares(RefCell<HashMap<Arc<str>, usize>>);

impl Shares {
    /// One more of the tenant's, unless so many are in progress. Whoever was let in leaves once.
    pub(crate) fn enter(&self, tenant: &Arc<str>, max: usize) -> bool {
        let mut shares = self.0.borrow_mut();
        let Some(share) = shares.get_mut(tenant) else {
            if max > 0 {
                shares.insert(tenant.clone(), 1);
            }
            return max > 0;
        };
        let enters = *share < max;
        *share += usize::from(enters);
        enters
    }

    pub(crate) fn leave(&self, tenant: &Arc<str>) {
        if let Some(share) = self.0.borrow_mut().get_mut(tenant) {
            *share -= 1;
        }
    }

    /// Forgets whoever has nothing in progress.
    pub(crate) fn sweep(&self) {
        self.0.borrow_mut().retain(|_, share| *share > 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_gets_its_share_and_what_it_leaves_is_free_again() {
        let (shares, acme, globex) = (Shares::default(), Arc::from("acme"), Arc::from("globex"));
        assert!(shares.enter(&acme, 2) && shares.enter(&acme, 2));
        assert!(!shares.enter(&acme, 2));
        assert!(shares.enter(&globex, 2), "another's is another's");
        shares.leave(&acme);
        assert!(shares.enter(&acme, 2) && !shares.enter(&acme, 2));
    }

    #[test]
    fn who_has_nothing_in_progress_is_forgotten() {
        let shares = Shares::default();
        for tenant in 0..1000 {
            let tenant = Arc::from(tenant.to_string());
            assert!(shares.enter(&tenant, 1));
            shares.leave(&tenant);
        }
        let busy = Arc::from("busy");
        assert!(shares.enter(&busy, 1));
        shares.sweep();
        assert_eq!(shares.0.borrow().len(), 1);
        assert!(!shares.enter(&busy, 1), "what is in progress is not forgotten");
    }
}
