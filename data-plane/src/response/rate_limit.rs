//! `RateLimit-Policy` and `RateLimit`, as draft-ietf-httpapi-ratelimit-headers (10) writes them.

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::policies::limiter::Limit;

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const STATE: HeaderName = HeaderName::from_static("ratelimit");

/// Tells the caller every limit that the call counted against. `q` is what fits at once or in the period, `w` the
/// seconds that giving all of it back takes, `qu` what is counted where that is not requests, `r` what is left, `t` the
/// seconds until nothing is missing. Of requests in progress there is neither `w` nor `t`: they end when they end.
pub(crate) fn insert(headers: &mut HeaderMap, limits: &[Limit]) {
    if limits.is_empty() {
        return;
    }
    let mut policy = String::new();
    let mut state = String::new();
    for (index, limit) in limits.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        let _ = write!(policy, "{separator}\"{}\";q={}", limit.name.as_str(), limit.quota);
        if let Some(window) = limit.window_s {
            let _ = write!(policy, ";w={window}");
        }
        if let Some(unit) = limit.unit {
            let _ = write!(policy, ";qu=\"{unit}\"");
        }
        let _ = write!(state, "{separator}\"{}\";r={}", limit.name.as_str(), limit.remaining);
        if let Some(reset) = limit.resets_in_s {
            let _ = write!(state, ";t={reset}");
        }
    }
    for (name, text) in [(POLICY, policy), (STATE, state)] {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_told_in_one_field_each() {
        let limit = |name: &'static str, quota, window_s, remaining, resets_in_s| Limit {
            name: name.into(),
            quota,
            window_s,
            unit: None,
            remaining,
            resets_in_s,
        };
        let limits = [
            limit("key", 10, Some(5), 9, Some(1)),
            limit("quota", 1000, Some(86400), 999, Some(4321)),
            limit("stage", 7, None, 0, None),
            Limit {
                unit: Some("concurrent-requests"),
                ..limit("stage-concurrency", 5, None, 2, None)
            },
        ];
        let mut headers = HeaderMap::new();
        insert(&mut headers, &limits);
        assert_eq!(
            headers[POLICY],
            "\"key\";q=10;w=5, \"quota\";q=1000;w=86400, \"stage\";q=7, \
             \"stage-concurrency\";q=5;qu=\"concurrent-requests\""
        );
        assert_eq!(
            headers[STATE],
            "\"key\";r=9;t=1, \"quota\";r=999;t=4321, \"stage\";r=0, \"stage-concurrency\";r=2"
        );
    }
}
