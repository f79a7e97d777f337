//! When a backend that fails is left alone for a while.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};

/// A failure is an answer of 500 to 599, or none. While the circuit is open calls are answered 504 at once, with
/// `Retry-After`. Each node counts for itself, over all integrations of the tenant that have the same backend (scheme, host
/// and port) and the same circuit breaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CircuitBreaker {
    /// So many failures one after another open the circuit: 1 to 1000; 0: however many.
    #[serde(default)]
    pub consecutive_failures: u32,
    /// So many percent of the calls of 10 seconds open it: 1 to 100; 0: whatever part.
    #[serde(default)]
    pub failure_percent: u32,
    /// Of how many calls at least `failurePercent` is counted: 1 to 1000000.
    #[serde(default = "minimum_requests")]
    pub minimum_requests: u32,
    /// How long the circuit stays open: 1000 to 600000.
    #[serde(default = "open_ms")]
    pub open_ms: u32,
    /// How many calls are then let through at a time, and must all go well to close it: 1 to 100.
    #[serde(default = "half_open_probes")]
    pub half_open_probes: u32,
}

pub const fn minimum_requests() -> u32 {
    20
}

pub const fn open_ms() -> u32 {
    30_000
}

pub const fn half_open_probes() -> u32 {
    1
}

impl CircuitBreaker {
    /// Checks every field; an error names the field.
    pub fn check(&self) -> Result<()> {
        if self.consecutive_failures == 0 && self.failure_percent == 0 {
            let rule = "must be above 0, or failurePercent must be: else nothing opens the circuit";
            return Err(Error::bad_request("consecutiveFailures", rule));
        }
        for (param, value, (min, max)) in [
            ("consecutiveFailures", self.consecutive_failures, (0, 1000)),
            ("failurePercent", self.failure_percent, (0, 100)),
            ("minimumRequests", self.minimum_requests, (1, 1_000_000)),
            ("openMs", self.open_ms, (1000, 600_000)),
            ("halfOpenProbes", self.half_open_probes, (1, 100)),
        ] {
            if !(min..=max).contains(&value) {
                return Err(Error::bad_request(param, format!("must be from {min} to {max}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_breaks_a_rule_is_named() {
        let good: CircuitBreaker = serde_json::from_str(r#"{"consecutiveFailures":5}"#).unwrap();
        good.check().unwrap();
        assert_eq!((good.minimum_requests, good.open_ms, good.half_open_probes), (20, 30_000, 1));
        let good = || good.clone();
        for (wrong, param) in [
            (CircuitBreaker { consecutive_failures: 0, ..good() }, "consecutiveFailures"),
            (CircuitBreaker { consecutive_failures: 1001, ..good() }, "consecutiveFailures"),
            (CircuitBreaker { failure_percent: 101, ..good() }, "failurePercent"),
            (CircuitBreaker { minimum_requests: 0, ..good() }, "minimumRequests"),
            (CircuitBreaker { minimum_requests: 1_000_001, ..good() }, "minimumRequests"),
            (CircuitBreaker { open_ms: 999, ..good() }, "openMs"),
            (CircuitBreaker { open_ms: 600_001, ..good() }, "openMs"),
            (CircuitBreaker { half_open_probes: 0, ..good() }, "halfOpenProbes"),
            (CircuitBreaker { half_open_probes: 101, ..good() }, "halfOpenProbes"),
        ] {
            match wrong.check().unwrap_err() {
                Error::BadRequest { param: named, .. } => assert_eq!(named, param),
                other => panic!("{other:?}"),
            }
        }
    }
}
