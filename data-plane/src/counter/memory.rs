//! Memory that segments take while the disk has no room.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Bytes that count against `memory_bytes_max` while they live.
pub(super) struct Memory {
    pub(super) bytes: Box<[u8]>,
    all: Arc<AtomicUsize>,
}

impl Memory {
    pub(super) fn new(bytes: Box<[u8]>, all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(bytes.len(), Ordering::Relaxed);
        Self { bytes, all: Arc::clone(all) }
    }
}

impl Deref for Memory {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}
