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
    /// Left out: `HARD`, whatever the throttle was that this one replaces.
    #[serde(default)]
    pub enforcement: ThrottleEnforcement,
    /// Left out: as each node is set, which is `LEASED` unless its operator says otherwise.
    #[serde(default)]
    pub mode: Option<ThrottleMode>,
    /// Left out: as each node is set, which is `LOCAL_FALLBACK` unless its operator says otherwise.
    #[serde(default)]
    pub outage: Option<ThrottleOutage>,
}

/// What becomes of a request beyond a throttle, or a concurrency limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ThrottleEnforcement {
    /// It is refused with `429 THROTTLED`.
    #[default]
    Hard,
    /// It passes, and its caller is told nothing. The log of requests and the watched ones say which of them would have
    /// refused it, and nodes count it.
    Shadow,
}

/// How a throttle is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum ThrottleMode {
    /// Nodes take tokens from Redis in advance; all nodes together keep the limit.
    Leased,
    /// Redis is asked for each request, which waits for the answer; all nodes together keep the limit.
    Exact,
    /// Redis is not asked: each node allows the limit ÷ live nodes.
    Local,
}

/// What becomes of a throttle while Redis is away or slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ThrottleOutage {
    /// Each node allows the limit ÷ live nodes.
    LocalFallback,
    /// It lets every request through.
    FailOpen,
    /// Requests are refused with `503 LIMITS_UNAVAILABLE`.
    FailClosed,
}

impl ThrottleMode {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leased => "LEASED",
            Self::Exact => "EXACT",
            Self::Local => "LOCAL",
        }
    }
}

impl TryFrom<&str> for ThrottleMode {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        [Self::Leased, Self::Exact, Self::Local]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| Error::corrupt("throttle mode", text))
    }
}

impl ThrottleOutage {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LocalFallback => "LOCAL_FALLBACK",
            Self::FailOpen => "FAIL_OPEN",
            Self::FailClosed => "FAIL_CLOSED",
        }
    }
}

impl TryFrom<&str> for ThrottleOutage {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        [Self::LocalFallback, Self::FailOpen, Self::FailClosed]
            .into_iter()
            .find(|outage| outage.as_str() == text)
            .ok_or_else(|| Error::corrupt("throttle outage", text))
    }
}

impl ThrottleEnforcement {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "HARD",
            Self::Shadow => "SHADOW",
        }
    }

    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl TryFrom<&str> for ThrottleEnforcement {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        [Self::Hard, Self::Shadow]
            .into_iter()
            .find(|enforcement| enforcement.as_str() == text)
            .ok_or_else(|| Error::corrupt("throttle enforcement", text))
    }
}

impl Throttle {
    /// So many requests, and none beyond them.
    pub fn of(rate_limit: f64, burst_limit: i32) -> Self {
        let enforcement = ThrottleEnforcement::Hard;
        Self { rate_limit, burst_limit, enforcement, mode: None, outage: None }
    }

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

    /// From its columns; both or none of the first two is null.
    pub fn from_columns(
        rate_limit: Option<f64>,
        burst_limit: Option<i32>,
        enforcement: &str,
        mode: Option<&str>,
        outage: Option<&str>,
    ) -> Result<Option<Self>> {
        let (Some(rate_limit), Some(burst_limit)) = (rate_limit, burst_limit) else {
            return Ok(None);
        };
        Ok(Some(Self {
            rate_limit,
            burst_limit,
            enforcement: enforcement.try_into()?,
            mode: mode.map(TryInto::try_into).transpose()?,
            outage: outage.map(TryInto::try_into).transpose()?,
        }))
    }

    /// What its column holds: of no throttle, what it is made with.
    pub fn enforcement_column(throttle: Option<&Self>) -> &'static str {
        throttle.map(|throttle| throttle.enforcement).unwrap_or_default().as_str()
    }

    /// What its column holds.
    pub fn mode_column(throttle: Option<&Self>) -> Option<&'static str> {
        throttle.and_then(|throttle| throttle.mode).map(ThrottleMode::as_str)
    }

    /// What its column holds.
    pub fn outage_column(throttle: Option<&Self>) -> Option<&'static str> {
        throttle.and_then(|throttle| throttle.outage).map(ThrottleOutage::as_str)
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
    /// Left out: `HARD`, whatever the throttle was that this one replaces.
    #[serde(default)]
    pub enforcement: ThrottleEnforcement,
    /// Left out: as each node is set, which is `LEASED` unless its operator says otherwise.
    #[serde(default)]
    pub mode: Option<ThrottleMode>,
    /// Left out: as each node is set, which is `LOCAL_FALLBACK` unless its operator says otherwise.
    #[serde(default)]
    pub outage: Option<ThrottleOutage>,
}

impl RouteThrottle {
    /// Without its route.
    pub fn throttle(&self) -> Throttle {
        let Self { rate_limit, burst_limit, enforcement, mode, outage, .. } = *self;
        Throttle { rate_limit, burst_limit, enforcement, mode, outage }
    }

    fn checked(self) -> Result<Self> {
        let key = RouteKey::parse_key(&self.route_key);
        let key = key.map_err(|error| Error::bad_request("routeKey", error.to_string()))?;
        self.throttle().checked()?;
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
            enforcement: ThrottleEnforcement::Shadow,
            mode: None,
            outage: None,
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
    fn a_throttle_that_does_not_say_how_is_enforced() {
        let read = |text| serde_json::from_str::<Throttle>(text);
        let hard = Throttle::of(1.0, 2);
        assert_eq!(read(r#"{"rateLimit": 1, "burstLimit": 2}"#).unwrap(), hard);
        let shadow = r#"{"rateLimit": 1, "burstLimit": 2, "enforcement": "SHADOW"}"#;
        assert_eq!(read(shadow).unwrap().enforcement, ThrottleEnforcement::Shadow);
        assert!(read(r#"{"rateLimit": 1, "burstLimit": 2, "enforcement": "SOFT"}"#).is_err());
        let columns = |enforcement, mode, outage| {
            Throttle::from_columns(Some(1.0), Some(2), enforcement, mode, outage)
        };
        assert_eq!(columns("HARD", None, None).unwrap(), Some(hard));
        assert!(columns("MILD", None, None).is_err());
        assert!(columns("HARD", Some("SLOPPY"), None).is_err());
        assert!(columns("HARD", None, Some("PANIC")).is_err());
    }

    #[test]
    fn a_throttle_says_how_it_is_counted_in_the_same_words_everywhere() {
        for mode in [ThrottleMode::Leased, ThrottleMode::Exact, ThrottleMode::Local] {
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.as_str());
            assert_eq!(ThrottleMode::try_from(mode.as_str()).unwrap(), mode);
        }
        let outages =
            [ThrottleOutage::LocalFallback, ThrottleOutage::FailOpen, ThrottleOutage::FailClosed];
        for outage in outages {
            assert_eq!(serde_json::to_value(outage).unwrap(), outage.as_str());
            assert_eq!(ThrottleOutage::try_from(outage.as_str()).unwrap(), outage);
        }
    }

    #[test]
    fn a_throttle_has_a_finite_rate_and_a_burst_of_at_least_one() {
        let checked =
            |rate_limit, burst_limit| Throttle::of(rate_limit, burst_limit).checked().is_ok();
        assert!(checked(0.5, 1) && checked(1e6, 1_000_000));
        for rate in [0.0, -1.0, 1e6 + 1.0, f64::NAN, f64::INFINITY] {
            assert!(!checked(rate, 1), "{rate}");
        }
        for burst in [0, -1, 1_000_001] {
            assert!(!checked(1.0, burst), "{burst}");
        }
    }
}
