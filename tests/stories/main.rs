//! The system seen from outside: one file per story, each in a world of its own.

#![expect(clippy::unwrap_used, reason = "a story fails by panicking, in its helpers too")]

mod audit;
mod bad_input;
mod behind_proxy;
mod canaries;
mod clocks;
mod cold_start;
mod config_delivery;
mod console;
mod conventions;
mod drain;
mod full_disk;
mod http2;
mod idempotency;
mod keys;
mod live;
mod lock_out;
mod metrics;
mod migrations;
mod people;
mod postgres;
mod replicas;
mod rest_way;
mod revoked_node;
mod row_security;
mod static_stability;
mod strangers;
mod tenants;
mod tls;
mod traces;
mod upgrade;
mod whole_way;
