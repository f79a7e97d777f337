//! The system seen from outside: one file per story, each in a world of its own.

#![expect(clippy::unwrap_used, reason = "a story fails by panicking, in its helpers too")]

mod answers;
mod audit;
mod bad_input;
mod behind_proxy;
mod billed;
mod canaries;
mod clocks;
mod cold_start;
mod config_delivery;
mod console;
mod conventions;
mod drain;
mod fairness;
mod full_disk;
mod functions;
mod grpc;
mod http2;
mod idempotency;
mod keys;
mod kills;
mod limits;
mod live;
mod lock_out;
mod management_requests;
mod metrics;
mod migrations;
mod paths;
mod peers;
mod people;
mod postgres;
mod quarantine;
mod reconciliation;
mod replicas;
mod rest_way;
mod revoked_node;
mod row_security;
mod statements;
mod static_stability;
mod strangers;
mod tenants;
mod tls;
mod traces;
mod upgrade;
mod whole_way;
