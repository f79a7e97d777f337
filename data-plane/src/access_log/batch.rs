//! Lines that a data thread made and a sink has not taken yet.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Entry;
use crate::node::ms;

/// What of one data thread waits for one sink; a line is about half a kilobyte.
pub(super) const BYTES_MAX: usize = 4 * 1024 * 1024;
/// What a buffer keeps of its room once it was emptied.
const ROOM_KEPT_BYTES: usize = 256 * 1024;

/// Between one data thread and one sink's. Each holds it for a copy of a line or a swap, nothing that waits, and the
/// sink's looks but a few times in each hundredth of a second: hardly ever does one find it taken.
#[derive(Default)]
pub(super) struct Slot(Mutex<Batch>);

#[derive(Default)]
pub(super) struct Batch {
    pub(super) text: Vec<u8>,
    pub(super) lines: u64,
    /// Of calls whose tenant is known.
    pub(super) ended: Vec<Ended>,
}

/// Calls of one tenant, one after the other and within a second.
pub(super) struct Ended {
    pub(super) tenant_id: Arc<str>,
    pub(super) at_ms: u64,
    pub(super) requests: u64,
}

/// Whether there was room for it.
pub(super) fn push(slot: &Slot, line: &[u8], entry: &Entry<'_>) -> bool {
    let batch = &mut *slot.batch();
    if batch.text.len() + line.len() > BYTES_MAX {
        return false;
    }
    batch.text.extend_from_slice(line);
    batch.lines += 1;
    let Some(tenant_id) = entry.tenant_id() else { return true };
    let at_ms = ms(entry.at);
    match batch.ended.last_mut() {
        Some(last) if last.at_ms / 1000 == at_ms / 1000 && *last.tenant_id == **tenant_id => {
            last.requests += 1;
        }
        _ => batch.ended.push(Ended { tenant_id: tenant_id.clone(), at_ms, requests: 1 }),
    }
    true
}

impl Slot {
    /// Takes what is there, and leaves an empty one.
    pub(super) fn swap(&self, with: &mut Batch) {
        with.clear();
        std::mem::swap(&mut *self.batch(), with);
    }

    fn batch(&self) -> MutexGuard<'_, Batch> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(ROOM_KEPT_BYTES);
        self.ended.clear();
        self.lines = 0;
    }
}
