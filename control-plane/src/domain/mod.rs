//! The nouns: each type, its rules, and its operations. A face translates; it decides nothing.

pub mod api;
pub mod api_key;
pub mod api_key_value;
pub mod audit;
pub mod bill;
pub mod consumer;
pub mod deployment;
pub mod download;
pub mod integration;
pub mod login_failure;
pub mod member;
pub mod node;
pub mod operator;
pub mod page;
pub mod patch;
pub mod price;
pub mod resource;
pub mod route;
pub mod session;
pub mod stage;
pub mod tenant;
pub mod text;
pub mod throttle;
pub mod usage;
pub mod usage_plan;
pub mod user;
