//! What this node serves: resources come by the stream, are compiled, and one pointer is swapped.
//!
//! [`join`] makes the node known to the control plane, [`stream`] receives, checks and applies, `last_good`
//! keeps what was received on the disk, [`compile`] makes of it the tables that requests are answered from.

mod apply;
mod assembly;
mod aws;
mod backends;
mod channel;
mod client_certificate;
pub mod compile;
pub mod join;
pub(crate) mod last_good;
pub(crate) mod messages;
mod mocks;
mod resilience;
pub mod resources;
mod retired;
pub(crate) mod secret;
pub mod served;
mod sharded;
pub(crate) mod signature;
pub mod stream;
pub(crate) mod vpc_link;

pub use compile::{Refusal, compile};
pub use served::Snapshot;
