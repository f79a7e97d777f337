//! Who calls, and what they may do.

pub mod actor;
pub mod role;
pub mod sealed;
pub mod token;
