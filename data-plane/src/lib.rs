//! The data plane: a node that serves tenants' APIs. Any number of them run; each is told what to serve by the
//! control plane and goes on without it.
//!
//! The way of a request, in the order of the directories it passes: [`listener`] → [`router`] →
//! [`policies`] → [`integration`] → [`response`]; `serve.rs` is the whole of it on one page. Beside it
//! stand [`snapshot`] (what is served), [`counter`] (what is billed) and [`admin`] (what operators look at).
//!
//! Threads: each data thread has a runtime, a listening socket, pools, counters and a Redis connection of its
//! own and shares nothing that is written per request. Admin, config and shipping run where [`run`] is awaited.
//!
//! Deliberately absent: a database (PostgreSQL is never asked on a request's behalf) and any answer of our
//! own that does not pass through `gateway_response.rs`.

pub mod config;
pub mod counter;
mod dialect;
mod gateway_response;
pub mod node;
pub mod snapshot;

pub use config::Config;

/// Why a node could not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot listen on {address}")]
    Listen { address: std::net::SocketAddr, source: std::io::Error },
    #[error("{0}")]
    Setting(String),
    #[error("cannot prepare outbound connections")]
    Egress(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

pub type Result<T> = std::result::Result<T, Error>;
