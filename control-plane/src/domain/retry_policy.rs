//! When a call is sent to its backend again.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::integration::ProtocolVersion;
use crate::domain::integration::backend::{CONNECT_TIMEOUT_MS_MAX, TIMEOUT_MS_MIN};
use crate::error::{Error, Result};

/// The most times that one call is sent again.
pub const ATTEMPTS_MAX: u32 = 5;

/// How long a second try waits beside the first, in milliseconds.
pub const HEDGING_DELAY_MS_MIN: u32 = 5;
pub const HEDGING_DELAY_MS_MAX: u32 = 60_000;

/// A call is sent again after a short pause that grows, at most so often as a fifth of all calls to its backend, and, once
/// any of it was sent, only if it has no body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RetryPolicy {
    /// How often at most, beside the first time: 1 to 5.
    pub attempts: u32,
    /// What calls are sent again for, beside `statuses`.
    #[serde(default)]
    pub on: Vec<RetryCondition>,
    /// Answers that calls are sent again for: 500 to 599.
    #[serde(default)]
    pub statuses: Vec<u16>,
    /// Calls of every method are sent again; else those of GET, HEAD, OPTIONS, PUT, DELETE and TRACE. A call for which no
    /// connection could be made never reached the backend, and is sent again whatever its method.
    #[serde(default)]
    pub any_method: bool,
    /// How long each try waits for a connection, and then for the head of an answer: 50 to 600000; 0: as long as the
    /// integration's own timeouts say.
    #[serde(default)]
    pub per_try_timeout_ms: u32,
    /// A call of GET, HEAD, OPTIONS, PUT, DELETE or TRACE without a body is sent a second time beside the first that has not begun to
    /// answer for so long: 5 to 60000; 0: none is. Who answers first has the call, and the other one is given up. It is one of the
    /// `attempts`. Absent where it is 0.
    #[serde(default, skip_serializing_if = "is_none")]
    pub hedging_delay_ms: u32,
}

/// What replicas of releases before it must not find in a policy that has none.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_none(hedging_delay_ms: &u32) -> bool {
    *hedging_delay_ms == 0
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RetryCondition {
    /// No connection could be made.
    ConnectFailure,
    /// The connection broke before there was an answer.
    Reset,
    /// No connection, or no head of an answer, came in time.
    Timeout,
}

impl RetryPolicy {
    /// The same, as a part of an integration that speaks this to its backend.
    pub fn check_over(&self, protocol: ProtocolVersion) -> Result<()> {
        if protocol == ProtocolVersion::Http2 {
            return Err(Error::bad_request("retryPolicy", "belongs to protocolVersion HTTP1"));
        }
        self.check().map_err(|error| error.within("retryPolicy"))
    }

    /// Checks every field; an error names the field.
    pub fn check(&self) -> Result<()> {
        if !(1..=ATTEMPTS_MAX).contains(&self.attempts) {
            let rule = format!("must be from 1 to {ATTEMPTS_MAX}");
            return Err(Error::bad_request("attempts", rule));
        }
        if self.on.is_empty() && self.statuses.is_empty() && self.hedging_delay_ms == 0 {
            let rule = "must name a condition, or statuses must have one, or hedgingDelayMs must be set: else nothing is sent again";
            return Err(Error::bad_request("on", rule));
        }
        for (at, condition) in self.on.iter().enumerate() {
            if self.on[..at].contains(condition) {
                return Err(Error::bad_request(format!("on[{at}]"), "is there twice"));
            }
        }
        for (at, status) in self.statuses.iter().enumerate() {
            if !(500..=599).contains(status) {
                let rule = "must be from 500 to 599";
                return Err(Error::bad_request(format!("statuses[{at}]"), rule));
            }
            if self.statuses[..at].contains(status) {
                return Err(Error::bad_request(format!("statuses[{at}]"), "is there twice"));
            }
        }
        let timeout = self.per_try_timeout_ms;
        if timeout != 0 && !(TIMEOUT_MS_MIN..=CONNECT_TIMEOUT_MS_MAX).contains(&timeout) {
            let rule = format!(
                "must be from {TIMEOUT_MS_MIN} to {CONNECT_TIMEOUT_MS_MAX}, or 0 for the integration's own"
            );
            return Err(Error::bad_request("perTryTimeoutMs", rule));
        }
        let delay = self.hedging_delay_ms;
        if delay != 0 && !(HEDGING_DELAY_MS_MIN..=HEDGING_DELAY_MS_MAX).contains(&delay) {
            let rule = format!(
                "must be from {HEDGING_DELAY_MS_MIN} to {HEDGING_DELAY_MS_MAX}, or 0 for no second try beside the first"
            );
            return Err(Error::bad_request("hedgingDelayMs", rule));
        }
        if timeout != 0 && delay >= timeout {
            let rule = "must be below perTryTimeoutMs: else it never comes to it";
            return Err(Error::bad_request("hedgingDelayMs", rule));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            attempts: 2,
            on: vec![RetryCondition::ConnectFailure, RetryCondition::Reset],
            statuses: vec![502, 503],
            any_method: false,
            per_try_timeout_ms: 0,
            hedging_delay_ms: 0,
        }
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        policy().check().unwrap();
        RetryPolicy { on: vec![], statuses: vec![], hedging_delay_ms: 5, ..policy() }
            .check()
            .unwrap();
        for (wrong, param) in [
            (RetryPolicy { attempts: 0, ..policy() }, "attempts"),
            (RetryPolicy { attempts: 6, ..policy() }, "attempts"),
            (RetryPolicy { on: vec![], statuses: vec![], ..policy() }, "on"),
            (RetryPolicy { on: vec![RetryCondition::Reset; 2], ..policy() }, "on[1]"),
            (RetryPolicy { statuses: vec![503, 499], ..policy() }, "statuses[1]"),
            (RetryPolicy { statuses: vec![600], ..policy() }, "statuses[0]"),
            (RetryPolicy { statuses: vec![503, 503], ..policy() }, "statuses[1]"),
            (RetryPolicy { per_try_timeout_ms: 49, ..policy() }, "perTryTimeoutMs"),
            (RetryPolicy { per_try_timeout_ms: 600_001, ..policy() }, "perTryTimeoutMs"),
            (RetryPolicy { hedging_delay_ms: 4, ..policy() }, "hedgingDelayMs"),
            (RetryPolicy { hedging_delay_ms: 60_001, ..policy() }, "hedgingDelayMs"),
            (
                RetryPolicy { hedging_delay_ms: 50, per_try_timeout_ms: 50, ..policy() },
                "hedgingDelayMs",
            ),
        ] {
            match wrong.check().unwrap_err() {
                Error::BadRequest { param: named, .. } => assert_eq!(named, param),
                other => panic!("{other:?}"),
            }
        }
    }
}
