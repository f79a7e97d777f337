//! Rows to the messages that nodes are sent, and the messages to streams.

mod aws;
mod balancing;
pub mod changes;
mod client_certificate;
pub mod compile;
pub mod document;
mod mocks;
mod resilience;
mod signing;
pub mod validate;
