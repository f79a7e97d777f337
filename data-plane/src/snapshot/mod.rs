//! What this node serves: resources come by the stream, are compiled, and one pointer is swapped.

pub mod compile;
pub mod resources;

pub use compile::{Refusal, Snapshot, compile};
