//! Throttles, as stages and usage plans carry them.

use async_graphql::{Enum, InputObject, SimpleObject};

use crate::domain;

/// A token bucket: `rateLimit` requests a second in the long run, `burstLimit` at once.
#[derive(Clone, Copy, SimpleObject)]
pub struct Throttle {
    pub(super) rate_limit: f64,
    pub(super) burst_limit: i32,
    pub(super) enforcement: ThrottleEnforcement,
    /// Null: as each node is set, which is `LEASED` unless its operator says otherwise.
    pub(super) mode: Option<ThrottleMode>,
    /// Null: as each node is set, which is `LOCAL_FALLBACK` unless its operator says otherwise.
    pub(super) outage: Option<ThrottleOutage>,
}

impl From<domain::throttle::Throttle> for Throttle {
    fn from(throttle: domain::throttle::Throttle) -> Self {
        Self {
            rate_limit: throttle.rate_limit,
            burst_limit: throttle.burst_limit,
            enforcement: throttle.enforcement.into(),
            mode: throttle.mode.map(Into::into),
            outage: throttle.outage.map(Into::into),
        }
    }
}

/// A throttle, whole: what is left out is as its default says.
#[derive(Clone, Copy, InputObject)]
pub struct ThrottleInput {
    /// Requests a second, above 0.
    rate_limit: f64,
    /// From 1.
    burst_limit: i32,
    #[graphql(default_with = "ThrottleEnforcement::Hard")]
    enforcement: ThrottleEnforcement,
    /// Left out: as each node is set, which is `LEASED` unless its operator says otherwise.
    mode: Option<ThrottleMode>,
    /// Left out: as each node is set, which is `LOCAL_FALLBACK` unless its operator says otherwise.
    outage: Option<ThrottleOutage>,
}

/// What becomes of a request beyond a throttle, or a concurrency limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::throttle::ThrottleEnforcement")]
pub enum ThrottleEnforcement {
    /// It is refused with `429 THROTTLED`.
    Hard,
    /// It passes, and its caller is told nothing. The log of requests and the watched ones say which of them would have
    /// refused it, and nodes count it.
    Shadow,
}

/// How a throttle is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::throttle::ThrottleMode")]
pub enum ThrottleMode {
    /// Nodes take tokens from Redis in advance; all nodes together keep the limit.
    Leased,
    /// Redis is asked for each request, which waits for the answer; all nodes together keep the limit.
    Exact,
    /// Redis is not asked: each node allows the limit ÷ live nodes.
    Local,
}

/// What becomes of a throttle while Redis is away or slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::throttle::ThrottleOutage")]
pub enum ThrottleOutage {
    /// Each node allows the limit ÷ live nodes.
    LocalFallback,
    /// It lets every request through.
    FailOpen,
    /// Requests are refused with `503 LIMITS_UNAVAILABLE`.
    FailClosed,
}

/// How often a route of a stage may be called, by all its callers together. It counts beside the stage's own throttle and
/// those of keys, not in their place.
#[derive(SimpleObject)]
pub struct RouteThrottle {
    /// `GET /pets/{id}` or `$default`.
    route_key: String,
    rate_limit: f64,
    burst_limit: i32,
    enforcement: ThrottleEnforcement,
    /// Null: as each node is set, which is `LEASED` unless its operator says otherwise.
    mode: Option<ThrottleMode>,
    /// Null: as each node is set, which is `LOCAL_FALLBACK` unless its operator says otherwise.
    outage: Option<ThrottleOutage>,
}

impl From<domain::throttle::RouteThrottle> for RouteThrottle {
    fn from(throttle: domain::throttle::RouteThrottle) -> Self {
        let Throttle { rate_limit, burst_limit, enforcement, mode, outage } =
            throttle.throttle().into();
        Self { route_key: throttle.route_key, rate_limit, burst_limit, enforcement, mode, outage }
    }
}

#[derive(InputObject)]
pub struct RouteThrottleInput {
    /// `GET /pets/{id}` or `$default`.
    route_key: String,
    /// Requests a second, above 0.
    rate_limit: f64,
    /// From 1.
    burst_limit: i32,
    #[graphql(default_with = "ThrottleEnforcement::Hard")]
    enforcement: ThrottleEnforcement,
    /// Left out: as each node is set, which is `LEASED` unless its operator says otherwise.
    mode: Option<ThrottleMode>,
    /// Left out: as each node is set, which is `LOCAL_FALLBACK` unless its operator says otherwise.
    outage: Option<ThrottleOutage>,
}

/// Unchecked; the domain's operation checks it.
impl From<RouteThrottleInput> for domain::throttle::RouteThrottle {
    fn from(input: RouteThrottleInput) -> Self {
        Self {
            route_key: input.route_key,
            rate_limit: input.rate_limit,
            burst_limit: input.burst_limit,
            enforcement: input.enforcement.into(),
            mode: input.mode.map(Into::into),
            outage: input.outage.map(Into::into),
        }
    }
}

/// Unchecked; the domain's operation checks it.
impl From<ThrottleInput> for domain::throttle::Throttle {
    fn from(input: ThrottleInput) -> Self {
        Self {
            rate_limit: input.rate_limit,
            burst_limit: input.burst_limit,
            enforcement: input.enforcement.into(),
            mode: input.mode.map(Into::into),
            outage: input.outage.map(Into::into),
        }
    }
}
