//! Throttles of routes, as columns of JSON hold them.

use serde::{Deserialize, Serialize};

use crate::domain::throttle::{
    RouteThrottle, Throttle, ThrottleEnforcement, ThrottleMode, ThrottleOutage,
};

/// One in `usage_plan_stage.route_throttles`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredThrottle {
    rate_limit: f64,
    burst_limit: i32,
    /// Written only where it is not the default: the release before reads no others than those two.
    #[serde(default, skip_serializing_if = "ThrottleEnforcement::is_default")]
    enforcement: ThrottleEnforcement,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mode: Option<ThrottleMode>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    outage: Option<ThrottleOutage>,
}

/// One in `stage.route_throttles`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredRouteThrottle {
    route_key: String,
    #[serde(flatten)]
    throttle: StoredThrottle,
}

impl From<Throttle> for StoredThrottle {
    fn from(throttle: Throttle) -> Self {
        let Throttle { rate_limit, burst_limit, enforcement, mode, outage } = throttle;
        Self { rate_limit, burst_limit, enforcement, mode, outage }
    }
}

impl From<StoredThrottle> for Throttle {
    fn from(stored: StoredThrottle) -> Self {
        let StoredThrottle { rate_limit, burst_limit, enforcement, mode, outage } = stored;
        Self { rate_limit, burst_limit, enforcement, mode, outage }
    }
}

impl From<&RouteThrottle> for StoredRouteThrottle {
    fn from(throttle: &RouteThrottle) -> Self {
        Self { route_key: throttle.route_key.clone(), throttle: throttle.throttle().into() }
    }
}

impl From<StoredRouteThrottle> for RouteThrottle {
    fn from(stored: StoredRouteThrottle) -> Self {
        let StoredThrottle { rate_limit, burst_limit, enforcement, mode, outage } = stored.throttle;
        Self { route_key: stored.route_key, rate_limit, burst_limit, enforcement, mode, outage }
    }
}
