//! A running data plane: what all its threads share.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{Config, snapshot::Snapshot};

/// What every thread of a node sees. Nothing in it is locked on the request path.
pub struct Shared {
    pub config: Config,
    /// What is served. The config stream stores a new pointer; data threads read it once per request.
    pub snapshot: ArcSwap<Snapshot>,
}

impl Shared {
    pub fn new(config: Config) -> Arc<Self> {
        let empty = Snapshot::empty(&config.egress_allow);
        Arc::new(Self { config, snapshot: ArcSwap::from_pointee(empty) })
    }
}
