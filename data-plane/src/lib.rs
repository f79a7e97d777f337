//! data-plane

pub mod snapshot;
