//! Throttles of a stage's clients, as a column of JSON holds them.

use serde::{Deserialize, Serialize};

use crate::domain::client_throttle::{ClientThrottle, ClientThrottleKey};
use crate::domain::throttle::Throttle;
use crate::store::throttle::StoredThrottle;

/// One in `stage.client_throttles`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredClientThrottle {
    name: String,
    key: ClientThrottleKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    header_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    route_key: Option<String>,
    #[serde(flatten)]
    throttle: StoredThrottle,
}

impl From<&ClientThrottle> for StoredClientThrottle {
    fn from(throttle: &ClientThrottle) -> Self {
        Self {
            name: throttle.name.clone(),
            key: throttle.key,
            header_name: throttle.header_name.clone(),
            route_key: throttle.route_key.clone(),
            throttle: throttle.throttle().into(),
        }
    }
}

impl From<StoredClientThrottle> for ClientThrottle {
    fn from(stored: StoredClientThrottle) -> Self {
        let StoredClientThrottle { name, key, header_name, route_key, throttle } = stored;
        let Throttle { rate_limit, burst_limit, enforcement, mode, outage } = throttle.into();
        Self {
            name,
            key,
            header_name,
            route_key,
            rate_limit,
            burst_limit,
            enforcement,
            mode,
            outage,
        }
    }
}
