//! Throttles, as stages and usage plans carry them.

use async_graphql::{Enum, InputObject, SimpleObject};

use crate::domain;

/// A token bucket: `rateLimit` requests a second in the long run, `burstLimit` at once.
#[derive(Clone, Copy, SimpleObject)]
pub struct Throttle {
    rate_limit: f64,
    burst_limit: i32,
    enforcement: ThrottleEnforcement,
}

impl From<domain::throttle::Throttle> for Throttle {
    fn from(throttle: domain::throttle::Throttle) -> Self {
        let domain::throttle::Throttle { rate_limit, burst_limit, enforcement } = throttle;
        Self { rate_limit, burst_limit, enforcement: enforcement.into() }
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

/// How often a route of a stage may be called, by all its callers together. It counts beside the stage's own throttle and
/// those of keys, not in their place.
#[derive(SimpleObject)]
pub struct RouteThrottle {
    /// `GET /pets/{id}` or `$default`.
    route_key: String,
    rate_limit: f64,
    burst_limit: i32,
    enforcement: ThrottleEnforcement,
}

impl From<domain::throttle::RouteThrottle> for RouteThrottle {
    fn from(throttle: domain::throttle::RouteThrottle) -> Self {
        let domain::throttle::Throttle { rate_limit, burst_limit, enforcement } =
            throttle.throttle();
        let enforcement = enforcement.into();
        Self { route_key: throttle.route_key, rate_limit, burst_limit, enforcement }
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
}

/// Unchecked; the domain's operation checks it.
impl From<RouteThrottleInput> for domain::throttle::RouteThrottle {
    fn from(input: RouteThrottleInput) -> Self {
        let RouteThrottleInput { route_key, rate_limit, burst_limit, enforcement } = input;
        Self { route_key, rate_limit, burst_limit, enforcement: enforcement.into() }
    }
}

/// Unchecked; the domain's operation checks it.
impl From<ThrottleInput> for domain::throttle::Throttle {
    fn from(input: ThrottleInput) -> Self {
        let ThrottleInput { rate_limit, burst_limit, enforcement } = input;
        Self { rate_limit, burst_limit, enforcement: enforcement.into() }
    }
}
