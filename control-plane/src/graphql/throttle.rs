//! Throttles, as stages and usage plans carry them.

use async_graphql::{InputObject, SimpleObject};

use crate::domain;

/// A token bucket: `rateLimit` requests a second in the long run, `burstLimit` at once.
#[derive(Clone, Copy, SimpleObject)]
pub struct Throttle {
    rate_limit: f64,
    burst_limit: i32,
}

impl From<domain::throttle::Throttle> for Throttle {
    fn from(throttle: domain::throttle::Throttle) -> Self {
        Self { rate_limit: throttle.rate_limit, burst_limit: throttle.burst_limit }
    }
}

#[derive(Clone, Copy, InputObject)]
pub struct ThrottleInput {
    /// Requests a second, above 0.
    rate_limit: f64,
    /// From 1.
    burst_limit: i32,
}

/// How often a route of a stage may be called, by all its callers together. It counts beside the stage's own throttle and
/// those of keys, not in their place.
#[derive(SimpleObject)]
pub struct RouteThrottle {
    /// `GET /pets/{id}` or `$default`.
    route_key: String,
    rate_limit: f64,
    burst_limit: i32,
}

impl From<domain::throttle::RouteThrottle> for RouteThrottle {
    fn from(throttle: domain::throttle::RouteThrottle) -> Self {
        let domain::throttle::RouteThrottle { route_key, rate_limit, burst_limit } = throttle;
        Self { route_key, rate_limit, burst_limit }
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
}

/// Unchecked; the domain's operation checks it.
impl From<RouteThrottleInput> for domain::throttle::RouteThrottle {
    fn from(input: RouteThrottleInput) -> Self {
        let RouteThrottleInput { route_key, rate_limit, burst_limit } = input;
        Self { route_key, rate_limit, burst_limit }
    }
}

/// Unchecked; the domain's operation checks it.
impl From<ThrottleInput> for domain::throttle::Throttle {
    fn from(input: ThrottleInput) -> Self {
        Self { rate_limit: input.rate_limit, burst_limit: input.burst_limit }
    }
}
