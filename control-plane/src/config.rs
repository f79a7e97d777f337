//! The settings of a control-plane replica. `tollgate` fills them from file, environment and flags.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;

use crate::mail;

/// Who may sign up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signup {
    Open,
    Invite,
    Closed,
}

#[derive(Clone, Debug)]
pub struct Config {
    /// Console, GraphQL and REST.
    pub http_listen: SocketAddr,
    /// `/metrics`, `/livez`, `/readyz`.
    pub admin_listen: SocketAddr,
    /// Config stream and usage intake, TLS always.
    pub grpc_listen: SocketAddr,
    /// Names and addresses beside `grpc_listen`'s that the gRPC server's certificate is good for.
    pub grpc_names: Vec<String>,
    /// How browsers reach `http_listen`: `http://127.0.0.1:8080`. Origins are checked against it.
    pub public_url: String,
    /// A login that is a member of the three roles.
    pub database_url: String,
    pub master_key_file: PathBuf,
    pub signup: Signup,
    /// By which mail server letters leave; none where no letters are sent.
    pub mail: Option<mail::Settings>,
    /// `http://{apiId}.execute-api.localhost:9080`.
    pub endpoint_template: String,
    /// `http://127.0.0.1:9080/_api/{apiId}`, while path addressing is on.
    pub path_endpoint_template: Option<String>,
    /// Proxies before `http_listen`, whose `X-Forwarded-For` says who calls.
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// CIDRs that tenants' backends may lie in beside public addresses.
    pub egress_allow: Vec<ipnet::IpNet>,
    /// Addresses that no backend may be: our own listeners and stores.
    pub egress_refuse: Vec<SocketAddr>,
    /// What a user may ask of this replica: points, spent at once or over a minute.
    pub user_points_per_minute: NonZeroU32,
    /// The same for an address from which nobody is logged in.
    pub address_points_per_minute: NonZeroU32,
    /// The most database connections of this replica, over its three roles.
    pub database_connections_max: u32,
    /// Usage by minute is kept for so many days; by hour and by day for good.
    pub usage_minutes_kept_days: u16,
}
