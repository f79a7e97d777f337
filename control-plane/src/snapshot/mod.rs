//! Rows to the messages that nodes are sent.

pub mod compile;
