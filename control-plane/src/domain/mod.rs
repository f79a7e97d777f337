//! The nouns: each type, its rules, and its operations. A face translates; it decides nothing.

pub mod api_key;
pub mod api_key_value;
pub mod audit;
pub mod consumer;
pub mod node;
pub mod page;
pub mod patch;
pub mod session;
pub mod text;
pub mod throttle;
pub mod usage_plan;
