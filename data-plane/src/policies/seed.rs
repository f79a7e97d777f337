//! Restores quotas' counts in a Redis that lost its memory, beside the calls: by what this thread remembers, and by what the
//! ledger has. `recall.rs` has the argument.

use std::{rc::Rc, time::Duration};

use futures_util::future::join_all;
use tokio::{task::spawn_local, time::sleep};

use super::{
    desk::now_us,
    limit_metrics::Purpose,
    limiter::Limiter,
    quota::Claim,
    recall::{Known, Line},
    store::{Redis, Told},
};
use crate::config::LimiterOutage;

/// When the ledger is asked, each after the one before: what was on its way to it at first has come.
const ASKED_AFTER: [Duration; 3] =
    [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(25)];
/// Who is asked for so long after a loss has all that was on its way, unless a node is still gone.
const ON_ITS_WAY_S: i64 = 60;
/// Quotas that Redis is told of at once.
pub(super) const TOLD_AT_ONCE: usize = 32;

impl Limiter {
    /// Redis answered about a quota, in time or late.
    pub(super) fn counted(&self, key: &str, claim: &Claim, line: &Line) {
        self.metrics.restored(line.restored);
        self.recall.saw(key, claim, line);
        if !line.whole && self.recall.may_look(key, now_us()) {
            spawn_local(self.clone().make_whole(key.into(), claim.clone(), line.clone()));
        }
    }

    /// Adds what a young line may lack. Where the control plane is away a later call tries again.
    async fn make_whole(self, key: Rc<str>, claim: Claim, line: Line) {
        let Some(redis) = self.there(&key) else { return };
        let Some(since) = self.look_back(&redis, redis.parts.of(&key)).await else { return };
        let since_s = since / 1_000_000;
        if since_s <= line.from_s {
            self.restore(&redis, &key, &claim, &line.known, 0).await; // the key was not used before
            return;
        }
        let times =
            if line.at_s - since_s < ON_ITS_WAY_S { &ASKED_AFTER[..] } else { &ASKED_AFTER[..1] };
        for after in times {
            sleep(*after).await;
            let asked = self.uses.ask(&claim.name, line.from_s, line.until_s);
            if let Some(used) = asked.await {
                self.restore(&redis, &key, &claim, &line.known, used).await;
            }
        }
    }

    /// The line has used as many calls at least.
    async fn restore(&self, redis: &Redis, key: &str, claim: &Claim, known: &Known, used: u64) {
        self.metrics.asked(Purpose::Quota);
        // Of the same period: what is remembered by now may be of the next.
        let told = Told { known: Some(known.clone()), ledger: Some(used), ..Told::default() };
        if let Ok(line) = redis.tell(key, claim, &told).await {
            self.counted(key, claim, &line);
        }
    }

    /// Since when Redis remembers, in seconds by its clock, where a line of this quota that is not whole is to refuse: where
    /// the outage is closed, and the key was on its plan before.
    pub(super) async fn refuses_since_s(
        &self,
        redis: &Rc<Redis>,
        key: &str,
        claim: &Claim,
    ) -> Option<i64> {
        if self.outage != LimiterOutage::FailClosed || claim.quota.soft {
            return None;
        }
        let part = redis.parts.of(key);
        let since = match redis.parts.remembers_since(part) {
            Some(since) => Some(since),
            None => self.look_back(redis, part).await,
        };
        let since_s = since? / 1_000_000;
        claim.joined_s.is_none_or(|joined_s| joined_s < since_s).then_some(since_s)
    }

    /// Asks since when a part of Redis remembers, in µs by its clock. One that lost its memory is told what this thread remembers.
    async fn look_back(&self, redis: &Rc<Redis>, part: usize) -> Option<i64> {
        self.metrics.asked(Purpose::Memory);
        let (since, is_new) = redis.remember(part).await.ok()?;
        if is_new {
            self.metrics.memory_losses.inc();
            tracing::warn!("Redis is new or lost its memory; quotas' counts are restored");
        }
        if redis.parts.remembers(part, since) {
            spawn_local(self.clone().remind(redis.clone(), part));
        }
        Some(since)
    }

    /// What is missing beyond that, the ledger is asked for with the next call of each key.
    async fn remind(self, redis: Rc<Redis>, part: usize) {
        let all = self.recall.all(|key| redis.parts.of(key) == part);
        for some in all.chunks(TOLD_AT_ONCE) {
            let told = some.iter().map(async |(key, claim, known)| {
                self.metrics.asked(Purpose::Quota);
                let told = Told { known: Some(known.clone()), ..Told::default() };
                let answer = redis.tell(key, claim, &told).await;
                if let Ok(line) = answer
                    && line.known.period == known.period
                {
                    self.metrics.restored(line.restored);
                    self.recall.saw(key, claim, &line);
                }
            });
            join_all(told).await;
        }
    }

    /// Looks whether Redis lost its memory, some parts of it at a time. Each second.
    pub(super) fn look_around(&self) {
        self.recall.turn(now_us());
        let Some(redis) = self.redis.clone().filter(|_| !self.recall.is_empty()) else { return };
        for part in redis.parts.turn() {
            if self.there(redis.parts.marker(part)).is_some() {
                let (limiter, redis) = (self.clone(), redis.clone());
                spawn_local(async move { limiter.look_back(&redis, part).await });
            }
        }
    }
}
