//! SQL, and nothing else; the same names as in `domain`.

pub mod api;
pub mod api_key;
pub mod audit;
pub mod cell;
pub mod consumer;
pub mod deployment;
pub mod download;
pub mod draft;
pub mod installation_key;
pub mod integration;
pub mod login_failure;
pub mod member;
pub mod node;
pub mod one_time_link;
pub mod price;
pub mod route;
pub mod schema;
pub mod session;
pub mod snapshot;
pub mod stage;
pub mod tenant;
pub mod usage;
pub mod usage_hour;
pub mod usage_intake;
pub mod usage_plan;
pub mod user;
