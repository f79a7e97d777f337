//! Circuit breakers of integrations.

use async_graphql::{InputObject, SimpleObject};

use crate::domain;
use crate::domain::circuit_breaker::{half_open_probes, minimum_requests, open_ms};
use crate::error::Error;

/// When a backend that fails, by answers of 500 to 599 or none, is left alone for a while.
#[derive(SimpleObject)]
pub struct CircuitBreaker {
    /// So many failures one after another open the circuit; 0: however many.
    consecutive_failures: u32,
    /// So many percent of the calls of 10 seconds open it; 0: whatever part.
    failure_percent: u32,
    /// Of how many calls at least `failurePercent` is counted.
    minimum_requests: u32,
    /// How long the circuit stays open, in milliseconds.
    open_ms: u32,
    /// How many calls are then let through at a time, and must all go well to close it.
    half_open_probes: u32,
}

/// A failure is an answer of 500 to 599, or none. While the circuit is open calls are answered 504 at once, with
/// `Retry-After`. Each node counts for itself, over all integrations of the tenant that have the same backend (scheme, host
/// and port) and the same circuit breaker.
#[derive(InputObject)]
pub struct CircuitBreakerInput {
    /// So many failures one after another open the circuit: 1 to 1000; 0 or left out: however many.
    consecutive_failures: Option<i32>,
    /// So many percent of the calls of 10 seconds open it: 1 to 100; 0 or left out: whatever part.
    failure_percent: Option<i32>,
    /// Of how many calls at least `failurePercent` is counted: 1 to 1000000; left out: 20.
    minimum_requests: Option<i32>,
    /// How long the circuit stays open: 1000 to 600000; left out: 30000.
    open_ms: Option<i32>,
    /// How many calls are then let through at a time, and must all go well to close it: 1 to 100; left out: 1.
    half_open_probes: Option<i32>,
}

impl From<&domain::circuit_breaker::CircuitBreaker> for CircuitBreaker {
    fn from(breaker: &domain::circuit_breaker::CircuitBreaker) -> Self {
        Self {
            consecutive_failures: breaker.consecutive_failures,
            failure_percent: breaker.failure_percent,
            minimum_requests: breaker.minimum_requests,
            open_ms: breaker.open_ms,
            half_open_probes: breaker.half_open_probes,
        }
    }
}

impl TryFrom<CircuitBreakerInput> for domain::circuit_breaker::CircuitBreaker {
    type Error = Error;

    fn try_from(input: CircuitBreakerInput) -> Result<Self, Error> {
        let count = |name, given: Option<i32>, left_out: u32| {
            given.map_or(Ok(left_out), |given| {
                u32::try_from(given).map_err(|_| {
                    Error::bad_request(format!("circuitBreaker.{name}"), "must not be below 0")
                })
            })
        };
        Ok(Self {
            consecutive_failures: count("consecutiveFailures", input.consecutive_failures, 0)?,
            failure_percent: count("failurePercent", input.failure_percent, 0)?,
            minimum_requests: count("minimumRequests", input.minimum_requests, minimum_requests())?,
            open_ms: count("openMs", input.open_ms, open_ms())?,
            half_open_probes: count("halfOpenProbes", input.half_open_probes, half_open_probes())?,
        })
    }
}
