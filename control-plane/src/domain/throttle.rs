//! A throttle: how often, and how much at once.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};

/// The highest rate and the largest burst that may be set.
pub const THROTTLE_MAX: u32 = 1_000_000;

/// A token bucket: `rate_limit` requests a second in the long run, `burst_limit` at once.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Throttle {
    /// Requests a second, above 0.
    pub rate_limit: f64,
    /// From 1.
    pub burst_limit: i32,
}

impl Throttle {
    /// Both limits are above 0 and at most [`THROTTLE_MAX`]. Errors name the field inside the throttle.
    pub fn checked(self) -> Result<Self> {
        if !(self.rate_limit > 0.0 && self.rate_limit <= f64::from(THROTTLE_MAX)) {
            let rule = format!("must be above 0 and at most {THROTTLE_MAX}");
            return Err(Error::bad_request("rateLimit", rule));
        }
        if !u32::try_from(self.burst_limit).is_ok_and(|limit| (1..=THROTTLE_MAX).contains(&limit)) {
            let rule = format!("must be from 1 to {THROTTLE_MAX}");
            return Err(Error::bad_request("burstLimit", rule));
        }
        Ok(self)
    }

    /// From two columns of which both or none is null.
    pub fn from_columns(rate_limit: Option<f64>, burst_limit: Option<i32>) -> Option<Self> {
        Some(Self { rate_limit: rate_limit?, burst_limit: burst_limit? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_has_a_finite_rate_and_a_burst_of_at_least_one() {
        let checked =
            |rate_limit, burst_limit| Throttle { rate_limit, burst_limit }.checked().is_ok();
        assert!(checked(0.5, 1) && checked(1e6, 1_000_000));
        for rate in [0.0, -1.0, 1e6 + 1.0, f64::NAN, f64::INFINITY] {
            assert!(!checked(rate, 1), "{rate}");
        }
        for burst in [0, -1, 1_000_001] {
            assert!(!checked(1.0, burst), "{burst}");
        }
    }
}
