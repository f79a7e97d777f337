//! Where limits are counted: in Redis, by one script for each question, on Redis's own clock. Throttles are counted by
//! lease (`leased.rs`) unless one says, or the node is set, to ask for each call or nobody.
//!
//! A call waits for an answer no longer than its budget. After a few answers in a row that did not come, nobody waits
//! any more until Redis answers in time again; until then the setting for outages decides. An answer that comes
//! too late is undone: what it took was not used.

use std::{cell::RefCell, rc::Rc, sync::Arc, time::Duration};

use futures_util::future::join_all;
use proto::{inquiry::v1::How, redis_keys};
use redis::{FromRedisValue, ParsingError, RedisResult, Value};
use tokio::{
    sync::oneshot,
    task::spawn_local,
    time::{sleep, timeout},
};

use super::{
    ahead::Ahead,
    desk::{Desk, Held, Leases, now_us},
    gates::{Gates, NodeGates},
    leased::Undecided,
    limit_metrics::{By, LimitMetrics, Purpose, ThreadLimitMetrics},
    outage::Local,
    recall::Recall,
    spending::{Spent, Standing, tell_quotas},
    store::Redis,
    throttle::{Label, Throttle},
};
use crate::{
    config::{LimiterMode, LimiterOutage},
    gateway_response::{GatewayResponse, Kind},
    reconciliation::QuotaUses,
    snapshot::served::Bucket,
};

/// How often a Redis that is away is asked whether it is back.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// Parts of a cluster that are asked about so often; where more are away, each is less often.
const PROBED_AT_ONCE: u32 = 8;

/// One data thread's way to Redis, and what holds without it.
#[derive(Clone)]
pub(crate) struct Limiter {
    pub(super) redis: Option<Rc<Redis>>,
    /// How long a call may wait for an answer about its limits.
    pub(super) budget: Duration,
    pub(super) mode: LimiterMode,
    pub(super) outage: LimiterOutage,
    pub(super) local: Arc<Local>,
    pub(super) desk: Rc<Desk>,
    /// Leases that this thread looks after.
    pub(super) watched: Rc<RefCell<Watched>>,
    pub(super) gates: Rc<Gates>,
    /// What this thread took from quotas ahead, and how they stood when it asked beside calls.
    pub(super) ahead: Rc<Ahead>,
    pub(super) standings: Rc<RefCell<Vec<Standing>>>,
    /// What this thread remembers of quotas.
    pub(super) recall: Rc<Recall>,
    /// What the ledger is asked about them.
    pub(super) uses: Arc<QuotaUses>,
    pub(super) metrics: Rc<LimitMetrics>,
    pub(super) counts: Rc<ThreadLimitMetrics>,
}

/// Leases, and the buckets that they were last asked for by.
type Watched = Vec<(Arc<Held>, Bucket)>;

/// How a node counts its limits.
#[derive(Clone, Copy)]
pub(crate) struct Settings<'a> {
    pub(crate) url: Option<&'a str>,
    /// Whom to trust over TLS, in PEM, instead of the public authorities.
    pub(crate) authority: Option<&'a [u8]>,
    pub(crate) budget: Duration,
    pub(crate) mode: LimiterMode,
    pub(crate) outage: LimiterOutage,
}

/// What a bucket answered.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) allowed: bool,
    pub(crate) remaining: u64,
    /// Milliseconds until there is a token; `None`: never.
    pub(crate) next_ms: Option<u64>,
    /// Milliseconds until the bucket is full; `None`: never.
    pub(crate) full_ms: Option<u64>,
    /// Where it goes where its call is refused after all.
    pub(crate) back: Back,
    /// How it is known.
    pub(crate) how: How,
}

/// How a token that was taken can be given back.
#[derive(Debug)]
pub(crate) enum Back {
    /// Not: none was taken, or this node's own share was in an outage, of which Redis is told.
    Nothing,
    /// To this node's own share.
    Share,
    Redis,
    Lease(Undecided),
}

/// Redis is away or slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// Why Redis did not say anything about a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Away,
    /// It was not asked: the clients of the tenant made it be asked as often as they may.
    Spared,
}

/// A limit as callers are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) name: Label,
    pub(crate) quota: u64,
    pub(crate) window_s: Option<u64>,
    /// What is counted, where that is not requests.
    pub(crate) unit: Option<&'static str>,
    pub(crate) remaining: u64,
    pub(crate) resets_in_s: Option<u64>,
}

impl Limiter {
    /// Connects when it is first asked, and again by itself. Must be called inside the thread's runtime.
    pub(crate) fn new(
        settings: Settings<'_>,
        local: Arc<Local>,
        leases: Arc<Leases>,
        gates: Arc<NodeGates>,
        uses: Arc<QuotaUses>,
        metrics: LimitMetrics,
    ) -> RedisResult<Self> {
        let Settings { url, authority, budget, mode, outage } = settings;
        let redis = url.map(|url| Redis::new(url, authority, local.node())).transpose()?;
        let redis = redis.map(Rc::new);
        let counts = Rc::new(metrics.thread());
        let (desk, metrics) = (Rc::new(Desk::new(leases)), Rc::new(metrics));
        let (watched, gates, recall) = (Rc::default(), Rc::new(Gates::new(gates)), Rc::default());
        let (ahead, standings) = (Rc::default(), Rc::default());
        Ok(Self {
            redis,
            budget,
            mode,
            outage,
            local,
            desk,
            watched,
            gates,
            ahead,
            standings,
            recall,
            uses,
            metrics,
            counts,
        })
    }

    /// Takes a token from each, or says how long there is none. Where it is known at once that one of them refuses,
    /// none is taken from the others.
    pub(crate) async fn take_all(&self, throttles: &[Throttle]) -> Vec<Result<Taken, Unavailable>> {
        match self.refused_at_once(throttles) {
            Some(answers) => answers,
            None => self.take_each(throttles).await,
        }
    }

    /// Takes a token from each, whatever the others say.
    pub(crate) async fn take_each(
        &self,
        throttles: &[Throttle],
    ) -> Vec<Result<Taken, Unavailable>> {
        let mut answers = Vec::with_capacity(throttles.len());
        let mut rest = throttles.iter();
        while let Some(throttle) = rest.as_slice().first()
            && let Some((taken, by)) = self.take_here(throttle)
        {
            self.counts.decided(throttle.decision(taken.allowed), by);
            answers.push(Ok(taken));
            rest.next();
        }
        if !rest.as_slice().is_empty() {
            answers.extend(join_all(rest.map(|throttle| self.take(throttle))).await);
        }
        answers
    }

    /// Takes a token, or says how long there is none, where nobody needs to be asked.
    fn take_here(&self, throttle: &Throttle) -> Option<(Taken, By)> {
        match self.mode(throttle) {
            LimiterMode::Leased => self.take_at_once(throttle).map(|taken| (taken, By::Lease)),
            LimiterMode::Local => Some((self.take_share(throttle), By::Share)),
            LimiterMode::Exact => None,
        }
    }

    /// Takes a token from this node's share, which is all that there is here.
    fn take_share(&self, throttle: &Throttle) -> Taken {
        let taken = self.local.take(throttle.held(), throttle.bucket);
        let back = if taken.allowed { Back::Share } else { Back::Nothing };
        Taken { back, ..taken }
    }

    pub(super) fn mode(&self, throttle: &Throttle) -> LimiterMode {
        throttle.mode.unwrap_or(self.mode)
    }

    /// Takes a token, or says how long there is none.
    pub(crate) async fn take(&self, throttle: &Throttle) -> Result<Taken, Unavailable> {
        let (answer, by) = match self.mode(throttle) {
            LimiterMode::Local => (Ok(self.take_share(throttle)), By::Share),
            LimiterMode::Leased => (self.wait(throttle).await, By::Lease),
            LimiterMode::Exact => (self.take_in_redis(throttle).await, By::Redis),
        };
        let (outage, how) = match answer {
            Err(Missing::Spared) => (LimiterOutage::LocalFallback, How::Spared),
            _ => (throttle.outage.unwrap_or(self.outage), How::Fallback),
        };
        let (taken, by) = match (answer, outage) {
            (Ok(taken), _) => (taken, by),
            (Err(_), LimiterOutage::LocalFallback) => {
                let taken = self.local.take(throttle.held(), throttle.bucket);
                if taken.allowed {
                    throttle.held().owe(now_us());
                }
                (Taken { how, ..taken }, By::Share)
            }
            (Err(_), LimiterOutage::FailOpen) => (Taken::unchecked(throttle.bucket), By::Nothing),
            (Err(_), LimiterOutage::FailClosed) => return Err(Unavailable),
        };
        self.counts.decided(throttle.decision(taken.allowed), by);
        Ok(taken)
    }

    async fn take_in_redis(&self, throttle: &Throttle) -> Result<Taken, Missing> {
        if !self.may_ask(throttle) {
            return Err(Missing::Spared);
        }
        throttle.asked();
        let (held, bucket) = (throttle.held().clone(), throttle.bucket);
        let (key, metrics) = (held.redis_key.clone(), self.metrics.clone());
        let limiter = self.clone();
        self.metrics.asked(Purpose::Take);
        let answer = self.question(
            throttle.redis_key(),
            async move |redis| {
                limiter.settle(redis, &held, bucket).await;
                let taken = redis.take(&held.redis_key, bucket).await?;
                held.saw(u32::try_from(taken.remaining).unwrap_or(u32::MAX));
                Ok(taken)
            },
            async move |redis, taken: Taken| {
                if taken.allowed {
                    metrics.asked(Purpose::GiveBack);
                    redis.give_back(&key, bucket).await;
                }
            },
        );
        answer.await.map_err(|Unavailable| Missing::Away)
    }

    /// Whether Redis may be asked about this bucket now.
    pub(super) fn may_ask(&self, throttle: &Throttle) -> bool {
        let Some(asks) = &throttle.found.asks else { return true };
        let may = asks.may(now_us(), self.local.nodes());
        if !may {
            self.metrics.spared.inc();
        }
        may
    }

    /// Tells a bucket of what was let through beside it.
    pub(super) async fn settle(&self, redis: &Redis, held: &Held, bucket: Bucket) {
        let now = now_us();
        let made = match held.take_owed(now) {
            (0, _) => 0,
            (owed, since) => Local::to_tell(held, owed, since, now),
        };
        if made == 0 {
            return;
        }
        self.metrics.asked(Purpose::Report);
        if redis.settle(&held.redis_key, bucket, made).await.is_err() {
            // It may have been applied all the same: then it is taken twice, never not at all.
            held.still_owe(made);
        }
    }

    /// Puts tokens back that a refused call had taken: into the lease, or to Redis. One that is not taken back is lost,
    /// which lets fewer calls through, never more.
    pub(crate) fn give_back(&self, throttles: Vec<(Throttle, Back)>) {
        for (throttle, back) in throttles {
            match (back, self.redis.clone()) {
                (Back::Lease(undecided), _) => undecided.give_back(),
                (Back::Share, _) => throttle.held().give_back_to_share(),
                (Back::Redis, Some(redis)) => {
                    self.metrics.asked(Purpose::GiveBack);
                    // Nobody waits for it.
                    spawn_local(async move {
                        redis.give_back(throttle.redis_key(), throttle.bucket).await;
                    });
                }
                (Back::Redis, None) | (Back::Nothing, _) => {}
            }
        }
    }

    /// Tells what was counted, and, while Redis is there, that this node is alive; learns how many are. Each second.
    pub(crate) fn tick(&self) {
        self.counts.flush();
        self.adopt_gates();
        self.look_around();
        self.return_old();
        let Some(redis) = self.there(&redis_keys::nodes()) else { return };
        let limiter = self.clone();
        self.metrics.asked(Purpose::RollCall);
        spawn_local(async move {
            match redis.roll_call().await {
                Ok(nodes) => {
                    limiter.local.set_nodes(nodes);
                    limiter.metrics.live_nodes.set(limiter.local.nodes().into());
                }
                // No call waited for it, but where this is lost calls would.
                Err(_) => limiter.failed(&redis, &redis_keys::nodes()),
            }
        });
    }

    /// How quotas stood when Redis was asked beside calls, since this was last taken.
    pub(crate) fn take_standings(&self) -> Vec<Standing> {
        self.standings.take()
    }

    /// Tells of what was let through without Redis and is not told yet, as the node ends.
    pub(super) async fn tell_all(&self) {
        let buckets = [self.local.owing(), self.desk.owing()].concat();
        let buckets = buckets.iter().map(async |held| {
            if let (Some(redis), Some(bucket)) = (self.there(&held.redis_key), held.divided()) {
                self.settle(&redis, held, bucket).await;
            }
        });
        let quotas = async {
            if let Some(redis) = &self.redis {
                tell_quotas(redis, &self.local, |key| !redis.parts.is_away(key)).await;
            }
        };
        tokio::join!(join_all(buckets), quotas, self.return_ahead());
    }

    /// Redis, where it can be asked about this key.
    pub(super) fn there(&self, key: &str) -> Option<Rc<Redis>> {
        self.redis.clone().filter(|redis| !redis.parts.is_away(key))
    }

    /// The answer to a question about a key, where it comes within the budget. The question goes on without us; `late` undoes
    /// an answer that nobody waits for any more.
    pub(super) async fn question<T: 'static>(
        &self,
        key: &str,
        question: impl AsyncFnOnce(&Rc<Redis>) -> RedisResult<T> + 'static,
        late: impl AsyncFnOnce(&Rc<Redis>, T) + 'static,
    ) -> Result<T, Unavailable> {
        let redis = self.there(key).ok_or(Unavailable)?;
        let (sender, receiver) = oneshot::channel();
        let asked = redis.clone();
        spawn_local(async move {
            let answer = question(&asked).await;
            if let Err(Ok(answer)) = sender.send(answer) {
                late(&asked, answer).await;
            }
        });
        match timeout(self.budget, receiver).await {
            Ok(Ok(Ok(answer))) => {
                redis.parts.answered(key);
                Ok(answer)
            }
            failed => {
                if let Ok(Ok(Err(error))) = failed {
                    tracing::debug!(%error, "Redis did not answer about a limit");
                }
                self.missed(&redis, key);
                Err(Unavailable)
            }
        }
    }

    /// An answer about a key did not come in time.
    pub(super) fn missed(&self, redis: &Rc<Redis>, key: &str) {
        self.metrics.redis_errors.inc();
        self.failed(redis, key);
    }

    fn failed(&self, redis: &Rc<Redis>, key: &str) {
        let Some(away) = redis.parts.failed(key) else { return };
        if away == 1 {
            tracing::warn!(outage = ?self.outage, "Redis is away or slow; limits go on without it");
        }
        let (redis, local, budget) = (redis.clone(), self.local.clone(), self.budget);
        let key = key.to_owned();
        spawn_local(async move {
            while !is_back(&redis, &local, &key, budget).await {}
            if redis.parts.back(&key) == 0 {
                tracing::info!("Redis is back; limits are exact again");
            }
        });
    }
}

/// After a while, whether Redis answers about this key within the budget, and knows what was let through without it.
async fn is_back(redis: &Rc<Redis>, local: &Local, key: &str, budget: Duration) -> bool {
    sleep(PROBE_EVERY * (1 + redis.parts.away() / PROBED_AT_ONCE)).await;
    let (probe, asked) = (redis.clone(), key.to_owned());
    let mut answer = spawn_local(async move { probe.probe(&asked).await.is_ok() });
    let Ok(answered) = timeout(budget, &mut answer).await else {
        // Not aborted: a new connection needs longer than a call may wait.
        let _ = answer.await;
        return false;
    };
    answered.unwrap_or(false)
        && tell_quotas(redis, local, |it| redis.parts.of(it) == redis.parts.of(key)).await
}

/// The answer of [`TAKE`](lease::script::TAKE).
impl FromRedisValue for Taken {
    fn from_redis_value(answer: Value) -> Result<Self, ParsingError> {
        let (taken, remaining, next, full) = <(i64, u64, i64, i64)>::from_redis_value(answer)?;
        let ms = |value: i64| u64::try_from(value).ok();
        let (next_ms, full_ms) = (ms(next), ms(full));
        let allowed = taken == 1;
        let back = if allowed { Back::Redis } else { Back::Nothing };
        Ok(Self { allowed, remaining, next_ms, full_ms, back, how: How::Exact })
    }
}

impl Unavailable {
    pub(crate) fn refusal() -> GatewayResponse {
        Kind::LimitsUnavailable
            .because("The limits of this call cannot be checked now.")
            .with(http::header::RETRY_AFTER, "1")
    }
}

impl Taken {
    /// Let through without a look at the bucket.
    fn unchecked(bucket: Bucket) -> Self {
        Self {
            allowed: true,
            remaining: bucket.burst.into(),
            next_ms: Some(0),
            full_ms: Some(0),
            back: Back::Nothing,
            how: How::Unavailable,
        }
    }

    /// For a refused take, how long until there is a token.
    pub(crate) fn refused_for_ms(&self) -> Option<u64> {
        (!self.allowed).then(|| self.next_ms.unwrap_or(u64::MAX))
    }
}

impl Limit {
    pub(crate) fn of_bucket(throttle: &Throttle, taken: &Taken) -> Self {
        let fill = f64::from(throttle.bucket.burst) / throttle.bucket.rate;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be finite and positive; a window beyond u32 seconds is not told"
        )]
        let window_s =
            (fill.is_finite() && fill < f64::from(u32::MAX)).then(|| fill.ceil().max(1.0) as u64);
        Self {
            name: throttle.name.clone(),
            quota: throttle.bucket.burst.into(),
            window_s,
            unit: None,
            remaining: taken.remaining,
            resets_in_s: taken.full_ms.map(|ms| ms.div_ceil(1000)),
        }
    }

    pub(crate) fn of_quota(spent: &Spent) -> Self {
        Self {
            name: "quota".into(),
            quota: spent.limit,
            window_s: Some(spent.period_s),
            unit: None,
            remaining: spent.remaining,
            resets_in_s: Some(spent.resets_in_s),
        }
    }
}
