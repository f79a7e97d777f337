//! What is left for the journal, and what an operator has to do where nothing is.

use std::path::PathBuf;
use std::sync::Arc;

use super::journal::Shared;

/// Whether there is room to count requests.
pub struct Room(pub(super) Arc<Shared>);

/// What a disk without room leads to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Want {
    #[error(
        "the usage journal's disk is full: calls are counted in memory, and lost to the bill if this process dies \
         before the ledger has them; free space under {}",
        .0.display()
    )]
    InMemory(PathBuf),
    #[error(
        "the usage journal's disk and the memory set aside for it are full: calls are refused with 503; free space \
         under {}, or bring the control plane back, which takes what waits",
        .0.display()
    )]
    Refusing(PathBuf),
}

impl Room {
    /// What an operator has to do, where there is something.
    pub fn wants(&self) -> Option<Want> {
        let dir = &self.0.settings.dir;
        if self.0.memory_is_full() {
            return Some(Want::Refusing(dir.clone()));
        }
        (self.0.metrics.disk_full.get() != 0).then(|| Want::InMemory(dir.clone()))
    }
}
