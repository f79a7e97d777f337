//! A concurrency limit: how many requests may be in progress at once.

use std::collections::HashSet;

use plan::RouteKey;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::throttle::ThrottleEnforcement;
use crate::error::{Error, Result};

/// The most that a limit may be.
pub const MAX_IN_FLIGHT_MAX: u32 = 1_000_000;
/// The most routes of a stage that have limits of their own.
pub const ROUTE_LIMITS_MAX: usize = 100;

/// At most so many requests are in progress at once, over all nodes. A request is in progress until the last byte of its
/// answer; one beyond the limit does not wait, it is refused with `429 THROTTLED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConcurrencyLimit {
    /// From 1 to 1000000.
    pub max_in_flight: i32,
    /// Left out: `HARD`, whatever the limit was that this one replaces.
    #[serde(default)]
    pub enforcement: ThrottleEnforcement,
}

impl ConcurrencyLimit {
    /// So many requests, and none beyond them.
    pub fn of(max_in_flight: i32) -> Self {
        Self { max_in_flight, enforcement: ThrottleEnforcement::Hard }
    }

    /// Errors name the field inside the limit.
    pub fn checked(self) -> Result<Self> {
        let limit = u32::try_from(self.max_in_flight).unwrap_or(0);
        if !(1..=MAX_IN_FLIGHT_MAX).contains(&limit) {
            let rule = format!(
                "must be from 1 to {MAX_IN_FLIGHT_MAX}; leave the limit out where any number may be in progress"
            );
            return Err(Error::bad_request("maxInFlight", rule));
        }
        Ok(self)
    }

    /// From two columns; the first is null where there is no limit.
    pub fn from_columns(max_in_flight: Option<i32>, enforcement: &str) -> Result<Option<Self>> {
        let limit = |max_in_flight| {
            let enforcement = enforcement.try_into()?;
            Ok(Self { max_in_flight, enforcement })
        };
        max_in_flight.map(limit).transpose()
    }

    /// What its column holds: of no limit, what it is made with.
    pub fn enforcement_column(limit: Option<&Self>) -> &'static str {
        limit.map(|limit| limit.enforcement).unwrap_or_default().as_str()
    }
}

/// How many requests of a route of a stage may be in progress at once, of all its callers together. It counts beside the
/// stage's own limit and those of keys, not in their place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteConcurrencyLimit {
    /// `GET /pets/{id}` or `$default`.
    pub route_key: String,
    /// From 1 to 1000000.
    pub max_in_flight: i32,
    /// Left out: `HARD`, whatever the limit was that this one replaces.
    #[serde(default)]
    pub enforcement: ThrottleEnforcement,
}

impl RouteConcurrencyLimit {
    /// Without its route.
    pub fn limit(&self) -> ConcurrencyLimit {
        ConcurrencyLimit { max_in_flight: self.max_in_flight, enforcement: self.enforcement }
    }

    fn checked(self) -> Result<Self> {
        let key = RouteKey::parse_key(&self.route_key);
        let key = key.map_err(|error| Error::bad_request("routeKey", error.to_string()))?;
        self.limit().checked()?;
        Ok(Self { route_key: key.to_string(), ..self })
    }
}

/// Checks the limits of a stage's routes; an error names one by its position, and the field in it.
pub fn checked_routes(limits: Vec<RouteConcurrencyLimit>) -> Result<Vec<RouteConcurrencyLimit>> {
    if limits.len() > ROUTE_LIMITS_MAX {
        let rule = format!("a stage limits at most {ROUTE_LIMITS_MAX} routes");
        return Err(Error::limit_exceeded("routeConcurrencyLimits", rule));
    }
    let mut named = HashSet::new();
    let checked = limits.into_iter().enumerate().map(|(at, limit)| {
        let limit = limit.checked().and_then(|limit| {
            if !named.insert(limit.route_key.clone()) {
                return Err(Error::bad_request("routeKey", "an earlier limit names this route"));
            }
            Ok(limit)
        });
        limit.map_err(|error| error.within(&format!("routeConcurrencyLimits[{at}]")))
    });
    checked.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_route(route_key: &str, max_in_flight: i32) -> RouteConcurrencyLimit {
        let enforcement = ThrottleEnforcement::Shadow;
        RouteConcurrencyLimit { route_key: route_key.to_owned(), max_in_flight, enforcement }
    }

    #[test]
    fn a_limit_is_at_least_one_request_and_no_more_than_nodes_can_count() {
        for max_in_flight in [1, 7, 1_000_000] {
            assert!(ConcurrencyLimit::of(max_in_flight).checked().is_ok());
        }
        for max_in_flight in [0, -1, i32::MIN, 1_000_001, i32::MAX] {
            let error = ConcurrencyLimit::of(max_in_flight).checked().unwrap_err();
            assert_eq!(error.param(), Some("maxInFlight"), "{max_in_flight}");
            assert!(error.to_string().contains("from 1 to 1000000"), "{error}");
        }
    }

    #[test]
    fn a_wrong_field_of_a_routes_limit_is_named_with_its_position() {
        let good = vec![of_route("GET /pets/{id}", 1), of_route("$default", 1_000_000)];
        assert_eq!(checked_routes(good.clone()).unwrap(), good);
        let after_a_good_one = |limit| vec![of_route("GET /pets/{id}", 1), limit];
        for (limit, param) in [
            (of_route("GET pets", 1), "routeConcurrencyLimits[1].routeKey"),
            (of_route("GET /pets/{id}", 2), "routeConcurrencyLimits[1].routeKey"),
            (of_route("GET /a", 0), "routeConcurrencyLimits[1].maxInFlight"),
            (of_route("GET /a", 1_000_001), "routeConcurrencyLimits[1].maxInFlight"),
        ] {
            let error = checked_routes(after_a_good_one(limit)).unwrap_err();
            assert_eq!(error.param(), Some(param));
        }
        let many = (0..=ROUTE_LIMITS_MAX).map(|route| of_route(&format!("GET /{route}"), 1));
        let error = checked_routes(many.collect()).unwrap_err();
        assert_eq!(error.param(), Some("routeConcurrencyLimits"));
    }

    #[test]
    fn a_limit_that_does_not_say_how_is_enforced() {
        let read = |text| serde_json::from_str::<ConcurrencyLimit>(text);
        assert_eq!(read(r#"{"maxInFlight": 3}"#).unwrap(), ConcurrencyLimit::of(3));
        let shadow = read(r#"{"maxInFlight": 3, "enforcement": "SHADOW"}"#).unwrap();
        assert_eq!(shadow.enforcement, ThrottleEnforcement::Shadow);
        for wrong in [r#"{"maxInFlight": 1.5}"#, r#"{"maxInFlight": 3, "queue": 1}"#, "{}"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let columns = ConcurrencyLimit::from_columns;
        assert_eq!(columns(Some(3), "HARD").unwrap(), Some(ConcurrencyLimit::of(3)));
        assert_eq!(columns(None, "HARD").unwrap(), None);
        assert!(columns(Some(3), "MILD").is_err());
    }
}
