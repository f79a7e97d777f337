//! When a call is sent to its backend again: what its integration's retry policy says, within the backend's budget.

use std::{pin::Pin, time::Duration};

use egress::ConnectError;
use http::StatusCode;
use tokio::time::{Sleep, sleep};
use upstream::{Budget, Error};

use crate::snapshot::served::{RetryPolicy, Timeouts};

/// The pause before a call is sent again the first time; twice as long before each next one, and so a backend that is
/// being started again is not missed by all tries. A random part of up to a half is left out, for callers that failed
/// together not to come again together.
const PAUSE: Duration = Duration::from_millis(25);

/// What is left of a call's tries.
pub(super) struct Tries<'a> {
    policy: Option<&'a RetryPolicy>,
    /// Whether the request may be sent again once it was sent.
    repeats: bool,
    made: u32,
    /// Whether a second try may go beside the first: once for a call.
    hedges: bool,
}

impl<'a> Tries<'a> {
    /// `whole`: nothing of the request is lost by being sent; `idempotent`: it may be sent twice.
    pub(super) fn new(policy: Option<&'a RetryPolicy>, idempotent: bool, whole: bool) -> Self {
        let repeats = policy.is_some_and(|policy| whole && (idempotent || policy.any_method));
        Self { policy, repeats, made: 0, hedges: whole && idempotent }
    }

    /// Those of one try.
    pub(super) fn timeouts(&self, own: Timeouts) -> Timeouts {
        match self.policy.and_then(|policy| policy.per_try_timeout) {
            Some(limit) => Timeouts {
                connect: own.connect.min(limit),
                first_byte: own.first_byte.min(limit),
                ..own
            },
            None => own,
        }
    }

    /// After no connection could be made. Nothing was sent, so the method does not matter.
    pub(super) fn unconnected(&self, error: &ConnectError) -> bool {
        let wants = |wanted: fn(&RetryPolicy) -> bool| self.policy.is_some_and(wanted);
        match error {
            ConnectError::Timeout => wants(|policy| policy.on.timeout || policy.on.connect_failure),
            ConnectError::Resolve(_) | ConnectError::Connect(_) | ConnectError::Tls(_) => {
                wants(|policy| policy.on.connect_failure)
            }
            ConnectError::Forbidden(_) | ConnectError::Own | ConnectError::NotHttp2 => false,
        }
    }

    /// After a connection broke.
    pub(super) fn unanswered(&self, error: &Error) -> bool {
        let broke = matches!(error, Error::Unanswered(_) | Error::CutOff(_));
        broke && self.repeats && self.policy.is_some_and(|policy| policy.on.reset)
    }

    /// After no answer's head came in time.
    pub(super) fn timed_out(&self) -> bool {
        self.repeats && self.policy.is_some_and(|policy| policy.on.timeout)
    }

    /// After an answer.
    pub(super) fn answered(&self, status: StatusCode) -> bool {
        status.is_server_error()
            && self.repeats
            && self.policy.is_some_and(|policy| policy.statuses.contains(&status))
    }

    /// How long the head of an answer is waited for before a second try goes beside the first; `None`: none does.
    pub(super) fn hedging_delay(&self) -> Option<Duration> {
        self.policy.filter(|_| self.hedges)?.hedging_delay
    }

    /// Takes another try that goes beside the one that is under way, if there is one.
    pub(super) fn hedge(&mut self, budget: &Budget) -> bool {
        self.hedges = false;
        let attempts = self.policy.map_or(0, |policy| policy.attempts);
        let takes = self.made < attempts && budget.retry();
        self.made += u32::from(takes);
        takes
    }

    /// Takes another try, if there is one; it begins when this is over. On the heap: few calls have one.
    pub(super) fn again(&mut self, budget: &Budget) -> Option<Pin<Box<Sleep>>> {
        let policy = self.policy?;
        if self.made >= policy.attempts || !budget.retry() {
            return None;
        }
        let pause = PAUSE * (1 << self.made);
        self.made += 1;
        Some(Box::pin(sleep(pause.mul_f64(1.0 - rand::random::<f64>() / 2.0))))
    }
}
