//! Circuit breakers: a backend that fails is left alone for a while. What one has seen is the node's, in atomics that its
//! threads share; calls without one never come here.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use egress::{Identity, Target};
use hashbrown::HashMap;
use http::{StatusCode, header::RETRY_AFTER};

use crate::{
    exchange::Exchange,
    gateway_response::{GatewayResponse, Kind},
    node::Node,
    snapshot::served::{CircuitBreaker, HttpProxy},
};

/// In which a part of the calls is counted.
const WINDOW_MS: u64 = 10_000;

/// The node's, by whose backend it is, which, how it is known over TLS, and by what settings. A thread asks once for each that it has an endpoint of,
/// and keeps it.
#[derive(Default)]
pub(crate) struct Breakers(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_name: HashMap<Name, Weak<Breaker>>,
    /// How many there may be before those that nobody has any more are taken away.
    sweep_at: usize,
}

/// A backend that is refused for its certificate under one identity may be well under another.
type Name = (Arc<str>, Target, Option<Arc<Identity>>, CircuitBreaker);

pub(crate) struct Breaker {
    settings: CircuitBreaker,
    began: Instant,
    /// Until when no call passes, in milliseconds since `began`; after that probes do. 0: the circuit is closed.
    open_until: AtomicU64,
    /// Taken since it was opened last.
    probes: AtomicU32,
    /// Of them, those that went well.
    passed: AtomicU32,
    consecutive: AtomicU32,
    /// [`Window`].
    window: AtomicU64,
}

/// What was counted in the present window: its number (24 bits), calls and failures (20 bits each).
#[derive(Clone, Copy)]
struct Window(u64);

/// A call that was let through. Dropped before its end is known, it counts for nothing.
pub(super) struct Pass {
    breaker: Arc<Breaker>,
    /// Of a probe: `open_until` as it took its place. 0: the circuit was closed.
    round: u64,
}

/// Lets a call through to its backend, if the integration's circuit breaker does.
pub(super) fn enter(
    node: &Node,
    exchange: &Exchange,
    proxy: &HttpProxy,
) -> Result<Option<Pass>, GatewayResponse> {
    let (Some(settings), Some(stage)) = (&proxy.circuit_breaker, &exchange.stage) else {
        return Ok(None);
    };
    let breakers = &node.shared.breakers;
    let breaker = node.pools.breaker(breakers, &stage.tenant_id, proxy, *settings);
    breaker.admit(breaker.now()).map(Some).map_err(|left_ms| {
        node.shared.metrics.backends.circuit_refusals.inc();
        Kind::IntegrationFailure
            .because("The backend failed too often and is left alone for a while.")
            .with(RETRY_AFTER, left_ms.div_ceil(1000).max(1))
    })
}

/// Counts how a call ended.
pub(super) fn leave(node: &Node, pass: Option<Pass>, end: Result<StatusCode, Kind>) {
    let Some(pass) = pass else { return };
    let failed = match end {
        Ok(status) => status.is_server_error(),
        Err(
            Kind::IntegrationFailure
            | Kind::IntegrationTimeout
            | Kind::FunctionFailure
            | Kind::FunctionStreamFailure,
        ) => true,
        Err(_) => return, // a fault of the caller's, or of ours, says nothing of the backend
    };
    let now = pass.breaker.now();
    if pass.end(failed, now) {
        node.shared.metrics.backends.circuits_opened.inc();
        tracing::debug!("a circuit to a backend opened");
    }
}

impl Breakers {
    pub(super) fn get(
        &self,
        tenant_id: &Arc<str>,
        target: &Target,
        identity: Option<&Arc<Identity>>,
        settings: CircuitBreaker,
    ) -> Arc<Breaker> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.by_name.len() >= known.sweep_at {
            known.by_name.retain(|_, breaker| breaker.strong_count() > 0);
            known.sweep_at = 64.max(known.by_name.len() * 2);
        }
        let name = (tenant_id.clone(), target.clone(), identity.cloned(), settings);
        if let Some(breaker) = known.by_name.get(&name).and_then(Weak::upgrade) {
            return breaker;
        }
        let breaker = Arc::new(Breaker::new(settings));
        known.by_name.insert(name, Arc::downgrade(&breaker));
        breaker
    }
}

impl Breaker {
    pub(super) fn new(settings: CircuitBreaker) -> Self {
        Self {
            settings,
            began: Instant::now(),
            open_until: AtomicU64::new(0),
            probes: AtomicU32::new(0),
            passed: AtomicU32::new(0),
            consecutive: AtomicU32::new(0),
            window: AtomicU64::new(0),
        }
    }

    pub(super) fn settings(&self) -> CircuitBreaker {
        self.settings
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether no call passes now.
    pub(super) fn is_open(&self) -> bool {
        self.open_until.load(Relaxed) > self.now()
    }

    /// Lets a call through, or says after how many milliseconds one may be again.
    fn admit(self: &Arc<Self>, now: u64) -> Result<Pass, u64> {
        let round = self.open_until.load(Relaxed);
        if now < round {
            return Err(round - now);
        }
        if round != 0 {
            let max = self.settings.half_open_probes;
            let take = |probes| (probes < max).then_some(probes + 1);
            self.probes.fetch_update(Relaxed, Relaxed, take).map_err(|_| 0_u64)?;
        }
        Ok(Pass { breaker: self.clone(), round })
    }

    fn opens(&self, failed: bool, now: u64) -> bool {
        let CircuitBreaker { consecutive_failures, failure_percent, minimum_requests, .. } =
            self.settings;
        let mut opens = false;
        if failure_percent > 0 {
            let number = now / WINDOW_MS;
            let count = |window| Some(Window(window).counted(number, failed).0);
            let before = self.window.fetch_update(Relaxed, Relaxed, count).unwrap_or_default();
            let (calls, failures) = Window(before).counted(number, failed).calls_and_failures();
            let enough = calls >= u64::from(minimum_requests);
            opens = failed && enough && failures * 100 >= u64::from(failure_percent) * calls;
        }
        if !failed {
            // Mostly it is 0 already, and the threads share the line that it is in.
            if self.consecutive.load(Relaxed) != 0 {
                self.consecutive.store(0, Relaxed);
            }
            return false;
        }
        let in_a_row = self.consecutive.fetch_add(1, Relaxed).saturating_add(1);
        opens || consecutive_failures > 0 && in_a_row >= consecutive_failures
    }

    /// From this round to another; false where somebody else was first.
    fn turn(&self, round: u64, next: u64) -> bool {
        let turned = self.open_until.compare_exchange(round, next, Relaxed, Relaxed).is_ok();
        if turned {
            for count in [&self.probes, &self.passed, &self.consecutive] {
                count.store(0, Relaxed);
            }
            self.window.store(0, Relaxed);
        }
        turned
    }
}

impl Window {
    const FAILURES: u64 = (1 << 20) - 1;
    const CALL: u64 = 1 << 20;

    /// With one call more, in the window with this number.
    fn counted(self, number: u64, failed: bool) -> Self {
        let number = number & 0xff_ffff;
        let same = if self.0 >> 40 == number { self.0 } else { number << 40 };
        let (calls, _) = Self(same).calls_and_failures();
        // Full, it stays as it is until the next one begins.
        let more = if calls == Self::FAILURES { 0 } else { Self::CALL + u64::from(failed) };
        Self(same + more)
    }

    fn calls_and_failures(self) -> (u64, u64) {
        ((self.0 / Self::CALL) & Self::FAILURES, self.0 & Self::FAILURES)
    }
}

impl Pass {
    /// Counts how the call ended; true where that opened the circuit.
    fn end(mut self, failed: bool, now: u64) -> bool {
        let round = std::mem::take(&mut self.round);
        let breaker = &self.breaker;
        let open = now + u64::from(breaker.settings.open_ms);
        if round == 0 {
            return breaker.opens(failed, now) && breaker.turn(0, open);
        }
        if failed {
            return breaker.turn(round, open);
        }
        let present = breaker.open_until.load(Relaxed) == round;
        if present && breaker.passed.fetch_add(1, Relaxed) + 1 >= breaker.settings.half_open_probes
        {
            breaker.turn(round, 0);
        }
        false
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if self.round != 0 && self.breaker.open_until.load(Relaxed) == self.round {
            let give_back = |probes: u32| probes.checked_sub(1);
            let _ = self.breaker.probes.fetch_update(Relaxed, Relaxed, give_back);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breaker(consecutive_failures: u32, failure_percent: u32) -> Arc<Breaker> {
        Arc::new(Breaker::new(CircuitBreaker {
            consecutive_failures,
            failure_percent,
            minimum_requests: 10,
            open_ms: 1000,
            half_open_probes: 2,
        }))
    }

    fn call(breaker: &Arc<Breaker>, failed: bool, now: u64) -> Result<bool, u64> {
        breaker.admit(now).map(|pass| pass.end(failed, now))
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_between_them_does_not_let_them_add_up() {
        let breaker = breaker(3, 0);
        for failed in [true, true, false, true, true] {
            assert_eq!(call(&breaker, failed, 5), Ok(false));
        }
        assert_eq!(call(&breaker, true, 10), Ok(true));
        assert_eq!(call(&breaker, false, 11), Err(999));
        assert_eq!(call(&breaker, false, 1009), Err(1));
        assert_eq!(call(&breaker, false, 1010), Ok(false), "a probe");
    }

    #[test]
    fn a_part_of_a_windows_calls_opens_it_once_there_are_enough() {
        let breaker = breaker(0, 50);
        for at in 0..9 {
            assert_eq!(call(&breaker, true, at), Ok(false), "{at} are too few");
        }
        for _ in 0..9 {
            assert_eq!(call(&breaker, true, 10_001).map(|_| ()), Ok(()), "another window");
        }
        assert_eq!(call(&breaker, false, 10_002), Ok(false), "a success opens nothing");
        for _ in 0..9 {
            assert_eq!(call(&breaker, false, 20_000), Ok(false));
        }
        for _ in 0..8 {
            assert_eq!(call(&breaker, true, 20_000), Ok(false), "below half");
        }
        assert_eq!(call(&breaker, true, 20_000), Ok(true), "9 of 18");
    }

    #[test]
    fn probes_close_it_when_all_go_well_and_one_that_fails_opens_it_anew() {
        let breaker = breaker(1, 0);
        assert_eq!(call(&breaker, true, 0), Ok(true));
        let first = breaker.admit(1000).ok().unwrap();
        let second = breaker.admit(1000).ok().unwrap();
        assert!(breaker.admit(1000).is_err(), "no more at a time");
        drop(second);
        let second = breaker.admit(1000).ok().unwrap(); // its place was given back
        assert!(!first.end(false, 1001));
        assert!(second.end(true, 1002), "it opens anew");
        assert_eq!(call(&breaker, false, 2001), Err(1));
        assert_eq!(call(&breaker, false, 2002), Ok(false));
        assert_eq!(call(&breaker, false, 2002), Ok(false));
        assert_eq!(breaker.open_until.load(Relaxed), 0, "closed");
        assert_eq!(call(&breaker, true, 2003), Ok(true), "and counts from the start");
    }

    #[test]
    fn what_ends_after_its_round_changes_nothing() {
        let breaker = breaker(1, 0);
        let early = breaker.admit(0).ok().unwrap();
        assert_eq!(call(&breaker, true, 0), Ok(true));
        assert!(!early.end(true, 1), "it is open already");
        let probe = breaker.admit(1000).ok().unwrap();
        assert_eq!(call(&breaker, true, 1000), Ok(true));
        drop(probe);
        assert_eq!(breaker.probes.load(Relaxed), 0);
    }

    #[test]
    fn threads_share_one_and_unused_ones_are_forgotten() {
        let breakers = Breakers::default();
        let (tenant, other): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let target = Target::parse("http://127.0.0.1:80").unwrap();
        let settings = breaker(1, 0).settings;
        let one = breakers.get(&tenant, &target, None, settings);
        assert!(Arc::ptr_eq(&one, &breakers.get(&tenant, &target, None, settings)));
        assert!(!Arc::ptr_eq(&one, &breakers.get(&other, &target, None, settings)));
        for port in 1..1000 {
            let target = Target::parse(&format!("http://127.0.0.1:{port}")).unwrap();
            breakers.get(&tenant, &target, None, settings);
        }
        assert!(breakers.0.lock().unwrap().by_name.len() <= 65);
        assert!(Arc::ptr_eq(&one, &breakers.get(&tenant, &target, None, settings)));
    }
}
