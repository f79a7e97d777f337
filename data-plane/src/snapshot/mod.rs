//! What this node serves: resources come by the stream, are compiled, and one pointer is swapped.

mod sharded;

pub mod compile;
pub mod resources;
pub mod served;

pub use compile::{Refusal, compile};
pub use served::Snapshot;
