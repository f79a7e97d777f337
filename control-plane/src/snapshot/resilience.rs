//! What an integration says of failures of its backend, as nodes are told.

use proto::config::v1 as message;

use crate::domain::circuit_breaker::CircuitBreaker;
use crate::domain::retry_policy::{RetryCondition, RetryPolicy};

pub(super) fn retry_policy(policy: &RetryPolicy) -> message::RetryPolicy {
    let on = |condition| policy.on.contains(&condition);
    message::RetryPolicy {
        attempts: policy.attempts,
        connect_failure: on(RetryCondition::ConnectFailure),
        reset: on(RetryCondition::Reset),
        timeout: on(RetryCondition::Timeout),
        statuses: policy.statuses.iter().map(|status| u32::from(*status)).collect(),
        any_method: policy.any_method,
        per_try_timeout_ms: policy.per_try_timeout_ms,
        hedging_delay_ms: policy.hedging_delay_ms,
    }
}

pub(super) fn circuit_breaker(breaker: &CircuitBreaker) -> message::CircuitBreaker {
    message::CircuitBreaker {
        consecutive_failures: breaker.consecutive_failures,
        failure_percent: breaker.failure_percent,
        minimum_requests: breaker.minimum_requests,
        open_ms: breaker.open_ms,
        half_open_probes: breaker.half_open_probes,
    }
}
