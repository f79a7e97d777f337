//! Retry policies of integrations.

use async_graphql::{Enum, InputObject, SimpleObject};

use crate::domain;
use crate::error::Error;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::retry_policy::RetryCondition")]
pub enum RetryCondition {
    /// No connection could be made.
    ConnectFailure,
    /// The connection broke before there was an answer.
    Reset,
    /// No connection, or no head of an answer, came in time.
    Timeout,
}

/// When a call is sent to its backend again.
#[derive(SimpleObject)]
pub struct RetryPolicy {
    /// How often at most, beside the first time.
    attempts: u32,
    on: Vec<RetryCondition>,
    statuses: Vec<u16>,
    any_method: bool,
    /// 0: as long as the integration's own timeouts say.
    per_try_timeout_ms: u32,
    /// 0: no second try goes beside the first.
    hedging_delay_ms: u32,
}

/// A call is sent again after a short pause that grows, at most so often as a fifth of all calls to its backend, and, once
/// any of it was sent, only if it has no body.
#[derive(InputObject)]
pub struct RetryPolicyInput {
    /// How often at most, beside the first time: 1 to 5.
    attempts: i32,
    /// What calls are sent again for, beside `statuses`.
    on: Option<Vec<RetryCondition>>,
    /// Answers that calls are sent again for: 500 to 599.
    statuses: Option<Vec<i32>>,
    /// Calls of every method are sent again; else those of GET, HEAD, OPTIONS, PUT, DELETE and TRACE.
    any_method: Option<bool>,
    /// How long each try waits for a connection, and then for the head of an answer: 50 to 600000; 0: as long as the
    /// integration's own timeouts say.
    per_try_timeout_ms: Option<i32>,
    /// A call of GET, HEAD, OPTIONS, PUT, DELETE or TRACE without a body is sent a second time beside the first that has not begun to
    /// answer for so long: 5 to 60000; 0: none is. Who answers first has the call, and the other one is given up. It is one of the
    /// `attempts`.
    hedging_delay_ms: Option<i32>,
}

impl From<&domain::retry_policy::RetryPolicy> for RetryPolicy {
    fn from(policy: &domain::retry_policy::RetryPolicy) -> Self {
        Self {
            attempts: policy.attempts,
            on: policy.on.iter().map(|condition| (*condition).into()).collect(),
            statuses: policy.statuses.clone(),
            any_method: policy.any_method,
            per_try_timeout_ms: policy.per_try_timeout_ms,
            hedging_delay_ms: policy.hedging_delay_ms,
        }
    }
}

impl TryFrom<RetryPolicyInput> for domain::retry_policy::RetryPolicy {
    type Error = Error;

    fn try_from(input: RetryPolicyInput) -> Result<Self, Error> {
        let statuses = input.statuses.unwrap_or_default().into_iter().enumerate();
        let statuses = statuses.map(|(at, status)| {
            u16::try_from(status).map_err(|_| {
                let param = format!("retryPolicy.statuses[{at}]");
                Error::bad_request(param, "must be from 500 to 599")
            })
        });
        Ok(Self {
            attempts: u32::try_from(input.attempts)
                .map_err(|_| Error::bad_request("retryPolicy.attempts", "must not be below 0"))?,
            on: input.on.unwrap_or_default().into_iter().map(Into::into).collect(),
            statuses: statuses.collect::<Result<_, _>>()?,
            any_method: input.any_method.unwrap_or(false),
            per_try_timeout_ms: u32::try_from(input.per_try_timeout_ms.unwrap_or(0)).map_err(
                |_| Error::bad_request("retryPolicy.perTryTimeoutMs", "must not be below 0"),
            )?,
            hedging_delay_ms: u32::try_from(input.hedging_delay_ms.unwrap_or(0)).map_err(|_| {
                Error::bad_request("retryPolicy.hedgingDelayMs", "must not be below 0")
            })?,
        })
    }
}
