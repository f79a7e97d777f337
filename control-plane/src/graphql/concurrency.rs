//! Concurrency limits, as stages and usage plans carry them.

use async_graphql::{InputObject, SimpleObject};

use crate::domain;
use crate::graphql::throttle::ThrottleEnforcement;

/// At most so many requests are in progress at once, over all nodes. A request is in progress until the last byte of its
/// answer; one beyond the limit does not wait, it is refused with `429 THROTTLED`.
#[derive(Clone, Copy, SimpleObject)]
pub struct ConcurrencyLimit {
    max_in_flight: i32,
    enforcement: ThrottleEnforcement,
}

impl From<domain::concurrency::ConcurrencyLimit> for ConcurrencyLimit {
    fn from(limit: domain::concurrency::ConcurrencyLimit) -> Self {
        let domain::concurrency::ConcurrencyLimit { max_in_flight, enforcement } = limit;
        Self { max_in_flight, enforcement: enforcement.into() }
    }
}

/// A concurrency limit, whole: what is left out is as its default says.
#[derive(Clone, Copy, InputObject)]
pub struct ConcurrencyLimitInput {
    /// From 1 to 1000000.
    max_in_flight: i32,
    #[graphql(default_with = "ThrottleEnforcement::Hard")]
    enforcement: ThrottleEnforcement,
}

/// Unchecked; the domain's operation checks it.
impl From<ConcurrencyLimitInput> for domain::concurrency::ConcurrencyLimit {
    fn from(input: ConcurrencyLimitInput) -> Self {
        let ConcurrencyLimitInput { max_in_flight, enforcement } = input;
        Self { max_in_flight, enforcement: enforcement.into() }
    }
}

/// How many requests of a route of a stage may be in progress at once, of all its callers together. It counts beside the
/// stage's own limit and those of keys, not in their place.
#[derive(SimpleObject)]
pub struct RouteConcurrencyLimit {
    /// `GET /pets/{id}` or `$default`.
    route_key: String,
    max_in_flight: i32,
    enforcement: ThrottleEnforcement,
}

impl From<domain::concurrency::RouteConcurrencyLimit> for RouteConcurrencyLimit {
    fn from(limit: domain::concurrency::RouteConcurrencyLimit) -> Self {
        let domain::concurrency::RouteConcurrencyLimit { route_key, max_in_flight, enforcement } =
            limit;
        Self { route_key, max_in_flight, enforcement: enforcement.into() }
    }
}

#[derive(InputObject)]
pub struct RouteConcurrencyLimitInput {
    /// `GET /pets/{id}` or `$default`.
    route_key: String,
    /// From 1 to 1000000.
    max_in_flight: i32,
    #[graphql(default_with = "ThrottleEnforcement::Hard")]
    enforcement: ThrottleEnforcement,
}

/// Unchecked; the domain's operation checks it.
impl From<RouteConcurrencyLimitInput> for domain::concurrency::RouteConcurrencyLimit {
    fn from(input: RouteConcurrencyLimitInput) -> Self {
        let RouteConcurrencyLimitInput { route_key, max_in_flight, enforcement } = input;
        Self { route_key, max_in_flight, enforcement: enforcement.into() }
    }
}
