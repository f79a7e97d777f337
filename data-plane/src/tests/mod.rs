//! The node seen through its sockets: a node on a free port, a backend in this process, callers that write raw
//! bytes.

mod access;
mod backends;
mod clients;
mod compression;
mod concurrency;
mod differential;
mod explain;
mod functions;
mod http1;
mod http2_backends;
mod http2_connections;
mod https;
mod idle;
mod leases;
mod limit_states;
mod limited;
pub(crate) mod limits;
mod media;
mod metering;
mod modes;
mod protocol;
mod proxy;
mod quota_ahead;
mod quota_losses;
mod quotas;
mod refusals;
mod shadow;
mod slow;
mod splice;
mod tls;
mod world;
