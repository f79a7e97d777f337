//! Throttles of a stage's clients.

use async_graphql::{Enum, InputObject, SimpleObject};

use crate::domain;
use crate::graphql::throttle::{Throttle, ThrottleEnforcement, ThrottleMode, ThrottleOutage};

/// How often each client of a stage may call. Every throttle that a call counts against must let it through: these, the
/// stage's, those of its routes, of usage plans and of the tenant.
#[derive(SimpleObject)]
pub struct ClientThrottle {
    /// Unlike all others of the stage. `RateLimit` and the log of requests call it so.
    name: String,
    key: ClientThrottleKey,
    /// Of `HEADER`: whose value tells clients apart. Calls without it are not counted.
    header_name: Option<String>,
    /// `GET /pets/{id}` or `$default`: calls of that route are counted, and no others. Null: every call of the stage.
    route_key: Option<String>,
    rate_limit: f64,
    burst_limit: i32,
    enforcement: ThrottleEnforcement,
    /// Null: as each node is set, which is `LEASED` unless its operator says otherwise.
    mode: Option<ThrottleMode>,
    /// Null: as each node is set, which is `LOCAL_FALLBACK` unless its operator says otherwise.
    outage: Option<ThrottleOutage>,
}

/// Who is one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::client_throttle::ClientThrottleKey")]
pub enum ClientThrottleKey {
    /// The caller behind trusted proxies: an IPv4 address, or the /64 network of an IPv6 address.
    Ip,
    /// A header's value; several headers of the name are one value, with commas between. Callers choose it freely, unless
    /// something before the gateway sets it.
    Header,
}

#[derive(InputObject)]
pub struct ClientThrottleInput {
    /// Unlike all others of the stage: 1 to 32 lower-case letters, digits and `-`, a letter first. Under another name
    /// every client begins anew.
    name: String,
    key: ClientThrottleKey,
    /// Of `HEADER`, and of no other.
    header_name: Option<String>,
    /// `GET /pets/{id}` or `$default`: calls of that route are counted, and no others. Left out: every call of the stage.
    route_key: Option<String>,
    /// Requests a second, above 0.
    rate_limit: f64,
    /// From 1, and at most 3600 times the rate: a client's bucket fills within an hour.
    burst_limit: i32,
    #[graphql(default_with = "ThrottleEnforcement::Hard")]
    enforcement: ThrottleEnforcement,
    /// Left out: as each node is set, which is `LEASED` unless its operator says otherwise.
    mode: Option<ThrottleMode>,
    /// Left out: as each node is set, which is `LOCAL_FALLBACK` unless its operator says otherwise.
    outage: Option<ThrottleOutage>,
}

impl From<domain::client_throttle::ClientThrottle> for ClientThrottle {
    fn from(throttle: domain::client_throttle::ClientThrottle) -> Self {
        let Throttle { rate_limit, burst_limit, enforcement, mode, outage } =
            throttle.throttle().into();
        Self {
            name: throttle.name,
            key: throttle.key.into(),
            header_name: throttle.header_name,
            route_key: throttle.route_key,
            rate_limit,
            burst_limit,
            enforcement,
            mode,
            outage,
        }
    }
}

/// Unchecked; the domain's operation checks it.
impl From<ClientThrottleInput> for domain::client_throttle::ClientThrottle {
    fn from(input: ClientThrottleInput) -> Self {
        Self {
            name: input.name,
            key: input.key.into(),
            header_name: input.header_name,
            route_key: input.route_key,
            rate_limit: input.rate_limit,
            burst_limit: input.burst_limit,
            enforcement: input.enforcement.into(),
            mode: input.mode.map(Into::into),
            outage: input.outage.map(Into::into),
        }
    }
}
