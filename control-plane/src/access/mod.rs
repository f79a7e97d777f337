//! Who calls, and what they may do.

pub mod actor;
pub mod allowance;
pub mod api_version;
pub mod attempt;
pub mod authority;
pub mod link_token;
pub mod matrix;
pub mod password;
pub mod precondition;
pub mod refresh;
pub mod role;
pub mod sealed;
pub mod token;
pub mod wall;
