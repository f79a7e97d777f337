//! What calls of functions, and answers that are buffered, hold in memory on one data thread. They are whole there, unlike
//! what streams through, so the bytes of all and of each tenant are bounded: one whose function hangs leaves room for the others.
//! What compresses answers is bounded in the same way, apart from these.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use hashbrown::HashMap;

/// Of all tenants together.
const BYTES_MAX: usize = 256 << 20;
/// Of one tenant.
const TENANT_BYTES_MAX: usize = 64 << 20;

/// One thread's. The counts are shared only because an answer's bytes may be dropped elsewhere.
#[derive(Default)]
pub(crate) struct Memory {
    all: Arc<AtomicUsize>,
    tenants: RefCell<HashMap<Arc<str>, Arc<AtomicUsize>>>,
}

/// What one call holds; given back when it is dropped.
pub(crate) struct Held {
    all: Arc<AtomicUsize>,
    tenant: Arc<AtomicUsize>,
    bytes: usize,
}

/// As many bytes are held as may be.
#[derive(Debug)]
pub(crate) struct Full;

impl Memory {
    pub(crate) fn enter(&self, tenant: &Arc<str>) -> Held {
        let mut tenants = self.tenants.borrow_mut();
        let tenant = match tenants.get(tenant) {
            Some(known) => known.clone(),
            None => tenants.entry(tenant.clone()).or_default().clone(),
        };
        Held { all: self.all.clone(), tenant, bytes: 0 }
    }

    /// Forgets whoever holds nothing.
    pub(crate) fn sweep(&self) {
        self.tenants.borrow_mut().retain(|_, bytes| Arc::strong_count(bytes) > 1);
    }
}

impl Held {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many bytes more.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Full> {
        let fits = self.all.load(Relaxed).saturating_add(bytes) <= BYTES_MAX
            && self.tenant.load(Relaxed).saturating_add(bytes) <= TENANT_BYTES_MAX;
        if !fits {
            return Err(Full);
        }
        self.all.fetch_add(bytes, Relaxed);
        self.tenant.fetch_add(bytes, Relaxed);
        self.bytes += bytes;
        Ok(())
    }

    /// The bytes, held until the last of them is dropped.
    pub(crate) fn keep(self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() { bytes } else { Bytes::from_owner(Kept { bytes, _held: self }) }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Relaxed);
        self.tenant.fetch_sub(self.bytes, Relaxed);
    }
}

struct Kept {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_holds_its_share_leaves_room_for_another() {
        let (memory, acme, globex) = (Memory::default(), "acme".into(), "globex".into());
        let mut first = memory.enter(&acme);
        first.grow(TENANT_BYTES_MAX).unwrap();
        let mut second = memory.enter(&acme);
        assert!(second.grow(1).is_err());
        memory.enter(&globex).grow(TENANT_BYTES_MAX).unwrap();
        drop(first);
        second.grow(1).unwrap();
    }

    #[test]
    fn all_tenants_together_hold_no_more_than_there_is() {
        let memory = Memory::default();
        let mut holding = Vec::new();
        for tenant in 0..BYTES_MAX / TENANT_BYTES_MAX {
            let mut held = memory.enter(&tenant.to_string().into());
            held.grow(TENANT_BYTES_MAX).unwrap();
            holding.push(held);
        }
        assert!(memory.enter(&"late".into()).grow(1).is_err());
    }

    #[test]
    fn an_answer_is_held_until_its_last_byte_is_gone() {
        let memory = Memory::default();
        let mut held = memory.enter(&"acme".into());
        held.grow(TENANT_BYTES_MAX).unwrap();
        let kept = held.keep(Bytes::from_static(b"hello"));
        let rest = kept.slice(1..);
        drop(kept);
        memory.sweep();
        assert!(memory.enter(&"acme".into()).grow(1).is_err());
        drop(rest);
        memory.sweep();
        assert!(memory.tenants.borrow().is_empty());
        memory.enter(&"acme".into()).grow(TENANT_BYTES_MAX).unwrap();
    }
}
