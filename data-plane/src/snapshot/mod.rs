//! What this node serves: resources come by the stream, are compiled, and one pointer is swapped.

pub mod resources;
