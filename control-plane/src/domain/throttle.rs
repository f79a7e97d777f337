//! A throttle: how often, and how much at once.

use std::collections::HashSet;

use plan::RouteKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Error, Result};

/// The highest rate and the largest burst that may be set.
pub const THROTTLE_MAX: u32 = 1_000_000;
/// The most routes of a stage that have throttles of their own.
pub const ROUTE_THROTTLES_MAX: usize = 100;

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

/// How often a route of a stage may be called, by all its callers together. It counts beside the stage's own throttle and
/// those of keys, not in their place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteThrottle {
    /// `GET /pets/{id}` or `$default`.
    pub route_key: String,
    /// Requests a second, above 0.
    pub rate_limit: f64,
    /// From 1.
    pub burst_limit: i32,
}

impl RouteThrottle {
    fn checked(self) -> Result<Self> {
        let key = RouteKey::parse_key(&self.route_key);
        let key = key.map_err(|error| Error::bad_request("routeKey", error.to_string()))?;
        let Self { rate_limit, burst_limit, .. } = self;
        Throttle { rate_limit, burst_limit }.checked()?;
        Ok(Self { route_key: key.to_string(), ..self })
    }
}

/// Checks the throttles of a stage's routes; an error names one by its position, and the field in it.
pub fn checked_routes(throttles: Vec<RouteThrottle>) -> Result<Vec<RouteThrottle>> {
    if throttles.len() > ROUTE_THROTTLES_MAX {
        let rule = format!("a stage throttles at most {ROUTE_THROTTLES_MAX} routes");
        return Err(Error::limit_exceeded("routeThrottles", rule));
    }
    let mut named = HashSet::new();
    let checked = throttles.into_iter().enumerate().map(|(at, throttle)| {
        let throttle = throttle.checked().and_then(|throttle| {
            if !named.insert(throttle.route_key.clone()) {
                return Err(Error::bad_request("routeKey", "an earlier throttle names this route"));
            }
            Ok(throttle)
        });
        throttle.map_err(|error| error.within(&format!("routeThrottles[{at}]")))
    });
    checked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_field_of_a_routes_throttle_is_named_with_its_position() {
        let throttle = |route_key: &str, rate_limit, burst_limit| RouteThrottle {
            route_key: route_key.to_owned(),
            rate_limit,
            burst_limit,
        };
        let good = vec![throttle("GET /pets/{id}", 0.5, 1), throttle("$default", 1e6, 1_000_000)];
        assert_eq!(checked_routes(good.clone()).unwrap(), good);
        let second = |wrong| vec![throttle("GET /a", 1.0, 1), wrong];
        let many = (0..=ROUTE_THROTTLES_MAX).map(|at| throttle(&format!("GET /{at}"), 1.0, 1));
        for (throttles, param) in [
            (second(throttle("/a", 1.0, 1)), "routeThrottles[1].routeKey"),
            (second(throttle("*", 1.0, 1)), "routeThrottles[1].routeKey"),
            (second(throttle("GET /a", 2.0, 1)), "routeThrottles[1].routeKey"),
            (second(throttle("GET /b", 0.0, 1)), "routeThrottles[1].rateLimit"),
            (second(throttle("GET /b", f64::NAN, 1)), "routeThrottles[1].rateLimit"),
            (second(throttle("GET /b", 1.0, 0)), "routeThrottles[1].burstLimit"),
            (many.collect(), "routeThrottles"),
        ] {
            let shown = format!("{throttles:?}");
            assert_eq!(checked_routes(throttles).unwrap_err().param(), Some(param), "{shown}");
        }
    }

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
