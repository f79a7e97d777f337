//! What an integration says of failures of its backend, as it is served.

use std::time::Duration;

use http::StatusCode;
use proto::config::v1 as message;

use super::served::{CircuitBreaker, RetryConditions, RetryPolicy};

/// Of a call, whatever a later release may allow.
const ATTEMPTS_MAX: u32 = 5;

pub(super) fn retry_policy(message: &message::RetryPolicy) -> RetryPolicy {
    let status = |status: &u32| StatusCode::from_u16(u16::try_from(*status).ok()?).ok();
    let (per_try_ms, hedging_ms) = (message.per_try_timeout_ms, message.hedging_delay_ms);
    RetryPolicy {
        attempts: message.attempts.min(ATTEMPTS_MAX),
        on: RetryConditions {
            connect_failure: message.connect_failure,
            reset: message.reset,
            timeout: message.timeout,
        },
        statuses: message.statuses.iter().filter_map(status).collect(),
        any_method: message.any_method,
        hedging_delay: (hedging_ms > 0).then(|| Duration::from_millis(hedging_ms.into())),
        per_try_timeout: (per_try_ms > 0).then(|| Duration::from_millis(per_try_ms.into())),
    }
}

pub(super) fn circuit_breaker(message: &message::CircuitBreaker) -> CircuitBreaker {
    CircuitBreaker {
        consecutive_failures: message.consecutive_failures,
        failure_percent: message.failure_percent,
        minimum_requests: message.minimum_requests.max(1),
        open_ms: message.open_ms.max(1),
        half_open_probes: message.half_open_probes.max(1),
    }
}
