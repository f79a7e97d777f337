//! Limits by lease: a call takes from what this node has in hand, and Redis is asked beside it.
//!
//! A call waits for Redis only where the lease is dry and nobody knows whether the bucket is: the first call on an idle
//! key, and those that come while it waits. What `crate lease` says is kept here by sending and receiving.

use std::{pin::pin, rc::Rc, sync::Arc, sync::atomic::Ordering, time::Duration};

use futures_util::future::join_all;
use lease::{Ask, Take, Token};
use proto::inquiry::v1::How;
use tokio::{
    task::spawn_local,
    time::{sleep, timeout},
};

use super::{
    desk::{Held, now_us},
    found::Found,
    limit_metrics::{By, Purpose},
    limiter::{Back, Limiter, Missing, Taken, Unavailable},
    store::Redis,
    throttle::Throttle,
};
use crate::{config::LimiterMode, snapshot::served::Bucket};

/// How often a thread looks after what stands unspent.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// How long a node that ends waits for what it returns to be taken.
const RETURN_MAX: Duration = Duration::from_millis(500);
/// A timer knows no less.
const REPORT_AFTER_MIN: Duration = Duration::from_millis(1);

/// Counted while a call waits.
struct Waiting<'a>(&'a Held);

impl<'a> Waiting<'a> {
    fn begin(held: &'a Held) -> Self {
        held.waiting.fetch_add(1, Ordering::Relaxed);
        Self(held)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A token whose call may yet be refused by something else: it is spent when this is dropped, however its call ends, or
/// given back.
pub(crate) struct Undecided {
    found: Rc<Found>,
    token: Option<Token>,
}

impl Undecided {
    pub(crate) fn give_back(mut self) {
        if let Some(token) = self.token.take() {
            self.found.held.lease.give_back(token);
        }
    }
}

impl Drop for Undecided {
    fn drop(&mut self) {
        if let Some(token) = self.token.take() {
            self.found.held.lease.spend(token);
        }
    }
}

impl std::fmt::Debug for Undecided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Undecided").field(&self.token).finish()
    }
}

impl Limiter {
    /// Where one of them refuses by what is known already, nothing is taken from any.
    pub(super) fn refused_at_once(
        &self,
        throttles: &[Throttle],
    ) -> Option<Vec<Result<Taken, Unavailable>>> {
        let now = now_us();
        let refuses = |throttle: &Throttle| {
            let leased = self.mode(throttle) == LimiterMode::Leased;
            throttle.held().lease.refuses(now).filter(|_| leased)
        };
        if !throttles.iter().any(|throttle| refuses(throttle).is_some()) {
            return None;
        }
        let answers = throttles.iter().map(|throttle| {
            let due = refuses(throttle);
            if due.is_some() {
                throttle.held().lease.refuse();
                self.counts.decided(throttle.decision(false), By::Lease);
            }
            if self.mode(throttle) == LimiterMode::Leased {
                Ok(leased(throttle, now, due, Back::Nothing))
            } else {
                Ok(not_asked(throttle))
            }
        });
        Some(answers.collect())
    }

    /// Takes a token from the lease, where there is one or where it is known that there is none.
    pub(super) fn take_at_once(&self, throttle: &Throttle) -> Option<Taken> {
        let now = now_us();
        match throttle.held().lease.take(now) {
            Take::Taken(token) => {
                if token.ask {
                    self.ask_for(throttle);
                }
                let undecided = Undecided { found: throttle.found.clone(), token: Some(token) };
                Some(leased(throttle, now, None, Back::Lease(undecided)))
            }
            Take::Refused { due_at } => Some(leased(throttle, now, Some(due_at), Back::Nothing)),
            Take::Dry => None,
        }
    }

    /// Waits for a token, or for the answer that there is none, within the budget.
    pub(super) async fn wait(&self, throttle: &Throttle) -> Result<Taken, Missing> {
        let redis = self.there(throttle.redis_key()).ok_or(Missing::Away)?;
        let held = throttle.held();
        let _waiting = Waiting::begin(held);
        let failed = held.failed.load(Ordering::Acquire);
        let waited = timeout(self.budget, async {
            let mut how = How::Remembered;
            loop {
                let mut answered = pin!(held.answered.notified());
                answered.as_mut().enable();
                if let Some(taken) = self.take_at_once(throttle) {
                    return Ok(Taken { how, ..taken });
                }
                if held.failed.load(Ordering::Acquire) != failed {
                    return Err(Missing::Away); // counted by whoever asked
                }
                if !self.ask_for(throttle) {
                    return Err(Missing::Spared);
                }
                answered.await;
                how = How::Lease;
            }
        });
        waited.await.unwrap_or_else(|_| {
            self.missed(&redis, throttle.redis_key());
            Err(Missing::Away)
        })
    }

    /// Asks for more, unless somebody does already. Gives whether an answer will be told.
    fn ask_for(&self, throttle: &Throttle) -> bool {
        let held = throttle.held();
        let waiting = held.waiting.load(Ordering::Relaxed);
        let Some(redis) = self.there(&held.redis_key) else { return true }; // it was told of already
        if held.lease.is_asking() {
            return true;
        }
        if !self.may_ask(throttle) {
            return false;
        }
        if let Some(ask) = held.lease.ask(now_us(), self.desk.number(), waiting) {
            throttle.asked();
            self.send(redis, held.clone(), throttle.bucket, ask);
        }
        true
    }

    fn send(&self, redis: Rc<Redis>, held: Arc<Held>, bucket: Bucket, ask: Ask) {
        if !held.watched.swap(true, Ordering::AcqRel) {
            self.watched.borrow_mut().push((held.clone(), bucket));
        }
        let (limiter, mut ask) = (self.clone(), ask);
        spawn_local(async move {
            loop {
                let Some(credited) = limiter.exchange(&redis, &held, bucket, &ask).await else {
                    return;
                };
                let next = if credited.late {
                    held.lease.return_idle(now_us(), limiter.desk.number())
                } else if let Some(micros) = credited.report_in_us {
                    limiter.report(&held, Duration::from_micros(micros)).await
                } else {
                    None
                };
                match next {
                    Some(next) => ask = next,
                    None => return,
                }
            }
        });
    }

    /// What was spent, after a while, or once some of the calls that have a token by then are decided.
    async fn report(&self, held: &Held, after: Duration) -> Option<Ask> {
        sleep(after.max(REPORT_AFTER_MIN)).await;
        loop {
            let report = held.lease.report(now_us(), self.desk.number());
            if report.is_some() || held.lease.is_asking() || !held.lease.is_undecided() {
                return report;
            }
            sleep(REPORT_AFTER_MIN).await;
        }
    }

    /// One question and its answer, which is told to whoever waits.
    async fn exchange(
        &self,
        redis: &Rc<Redis>,
        held: &Held,
        bucket: Bucket,
        ask: &Ask,
    ) -> Option<lease::Credited> {
        // Where this is dropped, as it ends with its thread, other threads must not wait for its answer.
        let unanswered = Unanswered(held);
        let purpose = if ask.want > 0 { Purpose::Lease } else { Purpose::Report };
        self.metrics.asked(purpose);
        let nodes = self.local.nodes();
        let asked = redis.exchange(&held.redis_key, bucket, ask, nodes);
        let ((), mut answer) = tokio::join!(self.settle(redis, held, bucket), asked);
        if answer.as_ref().is_err_and(redis::RedisError::is_connection_dropped) {
            // Nobody knows whether it was applied: the same number is applied once.
            self.metrics.asked(purpose);
            answer = redis.exchange(&held.redis_key, bucket, ask, nodes).await;
        }
        match answer {
            Ok(answer) => {
                std::mem::forget(unanswered);
                let credited = held.lease.credit(ask, &answer, bucket, now_us());
                if let Some(calls) = credited.lost {
                    self.metrics.lost(calls);
                }
                held.saw(answer.left());
                redis.parts.answered(&held.redis_key);
                held.answered.notify_waiters();
                Some(credited)
            }
            Err(error) => {
                drop(unanswered);
                tracing::debug!(%error, "Redis did not answer about a lease");
                self.missed(redis, &held.redis_key);
                None
            }
        }
    }

    /// Returns what stands unspent in the leases that this thread looks after. Each [`SWEEP_EVERY`].
    pub(crate) fn sweep(&self) {
        let now = now_us();
        self.desk.turn(now);
        let mut idle = Vec::new();
        self.watched.borrow_mut().retain(|(held, bucket)| {
            if held.lease.is_asking() {
                return true;
            }
            if let Some(redis) = self.there(&held.redis_key)
                && let Some(ask) = held.lease.return_idle(now, self.desk.number())
            {
                idle.push((redis, held.clone(), *bucket, ask));
                return true;
            }
            let stays = !held.lease.is_empty(now);
            held.watched.store(stays, Ordering::Release);
            stays
        });
        for (redis, held, bucket, ask) in idle {
            self.send(redis, held, bucket, ask);
        }
    }

    /// Returns what the leases that this thread looks after hold, as the node ends: others need not wait until they are
    /// over. Tells of what was let through without Redis. No longer than [`RETURN_MAX`].
    pub(crate) async fn return_all(&self) {
        let watched = self.watched.take();
        for (held, _) in &watched {
            // A thread that still runs may fill it again, and looks after it then.
            held.watched.store(false, Ordering::Release);
        }
        let returned = watched.iter().map(async |(held, bucket)| {
            loop {
                let mut answered = pin!(held.answered.notified());
                answered.as_mut().enable();
                if !held.lease.is_asking() {
                    break;
                }
                answered.await; // what it brings goes back too
            }
            if let Some(redis) = self.there(&held.redis_key)
                && let Some(ask) = held.lease.return_all(now_us(), self.desk.number())
            {
                self.exchange(&redis, held, *bucket, &ask).await;
            }
        });
        let all = async { tokio::join!(join_all(returned), self.tell_all()) };
        if timeout(RETURN_MAX, all).await.is_err() {
            tracing::debug!("what leases held runs out by itself");
        }
    }
}

/// A question that ends without an answer.
struct Unanswered<'a>(&'a Held);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.failed.fetch_add(1, Ordering::AcqRel);
        self.0.lease.give_up();
        self.0.answered.notify_waiters();
    }
}

/// What callers are told: left is what this node holds, and what the bucket had when it last answered, which other nodes
/// may have taken since.
fn leased(throttle: &Throttle, now: u64, due_at: Option<u64>, back: Back) -> Taken {
    let bucket = throttle.bucket;
    let remaining = throttle.held().lease.remaining(now).min(bucket.burst);
    // A bucket that never fills is due in centuries.
    let due = due_at.map(|due| due.saturating_sub(now).div_ceil(1000));
    Taken {
        allowed: due_at.is_none(),
        remaining: remaining.into(),
        next_ms: due.map_or(Some(0), |due| Some(due).filter(|due| *due < u64::MAX / 4000)),
        full_ms: full_ms(bucket, remaining),
        back,
        how: How::Remembered,
    }
}

/// Of one that is counted otherwise, beside one that refuses: what is known of it without taking from it.
fn not_asked(throttle: &Throttle) -> Taken {
    let bucket = throttle.bucket;
    let remaining = throttle.held().seen().map_or(bucket.burst, |(left, _)| left.min(bucket.burst));
    Taken {
        allowed: true,
        remaining: remaining.into(),
        next_ms: Some(0),
        full_ms: full_ms(bucket, remaining),
        back: Back::Nothing,
        how: How::Remembered,
    }
}

/// Until a bucket with so many tokens is full; `None`: never.
fn full_ms(bucket: Bucket, tokens: u32) -> Option<u64> {
    let seconds = f64::from(bucket.burst - tokens) / bucket.rate;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be finite and positive"
    )]
    (seconds.is_finite() && seconds < 4e12).then(|| (seconds * 1000.0).ceil() as u64)
}
