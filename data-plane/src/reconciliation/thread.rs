//! What one data thread noted and has not handed over.

use std::{cell::RefCell, collections::HashMap, sync::Arc};

use super::{
    Counts,
    quota_counts::{Counted, Name},
    quota_standings::Standing,
};
use crate::node::now_ms;

#[derive(Default)]
pub(crate) struct ThreadCounts {
    /// Requests that the access log had no room for, by tenant and the second in which they ended.
    unlogged: RefCell<HashMap<(Arc<str>, u64), u64>>,
    quotas: RefCell<HashMap<Name, Standing>>,
}

impl ThreadCounts {
    /// A request that ended then is not in the access log.
    pub(crate) fn not_logged(&self, tenant_id: &Arc<str>, ended_ms: u64) {
        // A second's requests together: a log that is full is full for many.
        let second = ended_ms / 1000 * 1000;
        *self.unlogged.borrow_mut().entry((tenant_id.clone(), second)).or_default() += 1;
    }

    /// Redis said where a quota stands, of which the key has so many calls.
    pub(crate) fn quota(&self, name: Name, counted: Counted, limit: u64) {
        let told = Standing { counted, limit };
        let mut quotas = self.quotas.borrow_mut();
        quotas.entry(name).and_modify(|known| *known = known.later(told)).or_insert(told);
    }

    /// How a quota stands, by what this thread noted, and what it and others have handed over.
    pub(crate) fn standing(&self, counts: &Counts, name: &Name) -> Option<Standing> {
        let noted = self.quotas.borrow().get(name).copied();
        noted.into_iter().chain(counts.standing(name)).reduce(Standing::later)
    }

    /// Hands over what was noted. Each second.
    pub(crate) fn tick(&self, counts: &Counts) {
        let unlogged = self.unlogged.take();
        if let Some(log) = &counts.log {
            for ((tenant, ended_ms), requests) in unlogged {
                log.count_lost(&tenant, ended_ms, requests);
            }
        }
        let quotas = self.quotas.take();
        if !quotas.is_empty() {
            let counted = quotas.iter().map(|(name, standing)| (name.clone(), standing.counted));
            counts.quotas.add(counted);
            counts.standings.add(quotas, now_ms());
        }
    }
}
