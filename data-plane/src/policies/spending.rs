//! How a call is taken from a quota: from what its thread took ahead (`ahead.rs`), or by a question to Redis. `recall.rs` says
//! what holds where Redis forgets, `outage.rs` what while it is away.

use std::rc::Rc;

use futures_util::future::join_all;
use proto::inquiry::v1::How;
use redis::{FromRedisValue, ParsingError, RedisResult, Value};
use tokio::task::spawn_local;

use super::{
    ahead::{Ahead, Here, Return},
    desk::now_us,
    limit_metrics::Purpose,
    limiter::{Limiter, Unavailable},
    outage::Local,
    quota::Claim,
    recall::{Known, Line, Restored},
    seed::TOLD_AT_ONCE,
    store::{Redis, Told},
};
use crate::{
    config::{LimiterMode, LimiterOutage},
    reconciliation::{Counted, QuotaName},
};

/// What a quota answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) allowed: bool,
    /// The call is beyond the limit: refused, or let through all the same.
    pub(crate) over: bool,
    /// Of the calls that the key has in this period.
    pub(crate) remaining: u64,
    pub(crate) limit: u64,
    pub(crate) resets_in_s: u64,
    pub(crate) period_s: u64,
    /// Calls that nodes hold, of which some may come back.
    pub(crate) held: u64,
    /// How it is known.
    pub(crate) how: How,
    /// What Redis counts of the period; none where it was not asked.
    pub(crate) counted: Option<Counted>,
}

impl Spent {
    /// So many were taken ahead beside it, and are left too.
    pub(super) fn with(self, ahead: u64) -> Self {
        let ahead = if self.over { 0 } else { ahead };
        Self { remaining: self.remaining.saturating_add(ahead), ..self }
    }
}

/// [`Spent`], and the count that it was taken from.
#[derive(Debug)]
pub(crate) struct Spending(pub(crate) Spent, pub(crate) Line);

/// What Redis says of a quota.
pub(crate) enum QuotaAnswer {
    Spent(Spending),
    /// It is none of the periods that were named, but this Unix second.
    Elsewhen(i64),
}

/// Since when no call of a quota was taken ahead or settled, and still some that are held may come back, in seconds.
const COMES_BACK_S: u64 = 5;

/// What Redis is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    /// A call waits for the answer; else even the first is taken ahead.
    pub(crate) waits: bool,
    /// It is the one question that asks for more.
    pub(crate) sizes: bool,
    /// So many beside the first, or fewer.
    pub(crate) ahead: u64,
    /// Of those that were taken ahead before, so many were made.
    pub(crate) settled: u64,
}

impl Asked {
    pub(crate) const ONE: Self = Self { waits: true, sizes: false, ahead: 0, settled: 0 };
}

impl Default for Asked {
    fn default() -> Self {
        Self::ONE
    }
}

/// Where a quota stood when Redis was asked beside a call.
pub(crate) struct Standing {
    pub(crate) name: QuotaName,
    pub(crate) counted: Counted,
    pub(crate) limit: u64,
}

/// A question that may end without an answer.
struct Pending {
    ahead: Rc<Ahead>,
    key: Box<str>,
    asked: Asked,
    sent: bool,
    answered: bool,
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.answered {
            self.ahead.unanswered(&self.key, &self.asked, self.sent);
        }
    }
}

impl Limiter {
    /// Takes one call from a quota, if any is left, or though none is where the quota is soft.
    pub(crate) async fn spend(&self, redis_key: &str, claim: &Claim) -> Result<Spent, Unavailable> {
        let here = match self.mode {
            LimiterMode::Leased => self.ahead.take(redis_key, claim, now_us()),
            LimiterMode::Exact | LimiterMode::Local => Here::Ask(Asked::ONE),
        };
        let asked = match here {
            Here::Spent(spent) => return Ok(spent),
            Here::Refill(spent, asked) => {
                self.refill(redis_key, claim, asked);
                return Ok(spent);
            }
            Here::Ask(asked) => asked,
        };
        let (limiter, claimed, late_key) = (self.clone(), claim.clone(), redis_key.to_owned());
        let pending = self.pending(redis_key, asked);
        let answer = self.question(
            redis_key,
            async move |redis| limiter.spend_in_redis(redis, pending, &claimed).await,
            async move |redis, Spending(spent, line)| {
                if spent.allowed {
                    redis.unspend(&late_key, &line.known.period).await;
                }
            },
        );
        match (answer.await, self.outage) {
            (Ok(Spending(_, line)), _) if line.shut => Err(Unavailable),
            (Ok(Spending(spent, line)), _) => Ok(spent.with(line.ahead)),
            // What refuses nobody needs no answer.
            (Err(_), _) if claim.quota.soft => Ok(self.local.spend(redis_key, claim)),
            (Err(_), LimiterOutage::LocalFallback) => Ok(self.local.spend(redis_key, claim)),
            (Err(_), LimiterOutage::FailOpen) => Ok(self.local.spend_unchecked(redis_key, claim)),
            (Err(away), LimiterOutage::FailClosed) => Err(away),
        }
    }

    /// Asks for more ahead; nobody waits for it.
    fn refill(&self, key: &str, claim: &Claim, asked: Asked) {
        let pending = self.pending(key, asked);
        let Some(redis) = self.there(key) else { return };
        let (limiter, claim) = (self.clone(), claim.clone());
        spawn_local(async move {
            match limiter.spend_in_redis(&redis, pending, &claim).await {
                Ok(Spending(spent, line)) => limiter.stands(&claim, &line, spent.limit),
                Err(error) => tracing::debug!(%error, "Redis did not answer about a quota"),
            }
        });
    }

    fn pending(&self, key: &str, asked: Asked) -> Pending {
        Pending { ahead: self.ahead.clone(), key: key.into(), asked, sent: false, answered: false }
    }

    async fn spend_in_redis(
        &self,
        redis: &Rc<Redis>,
        mut pending: Pending,
        claim: &Claim,
    ) -> RedisResult<Spending> {
        let (key, asked) = (&*pending.key, pending.asked);
        let shut_since = self.refuses_since_s(redis, key, claim).await;
        let debt = self.local.debt(key, claim);
        let made = debt.as_ref().map_or(0, |debt| debt.calls);
        let known = self.recall.known(key);
        let told = Told { made, known, shut_since, asked, ..Told::default() };
        self.metrics.asked(Purpose::Quota);
        pending.sent = true;
        let asked_at = now_us();
        let answer = redis.spend(key, claim, &told, self.local.nodes()).await;
        if let Some(debt) = debt {
            // What failed may have been applied all the same: then it is taken twice, never not at all.
            self.local.told(&debt, answer.is_ok());
        }
        if let Ok(spending) = &answer {
            self.counted(key, claim, &spending.1);
            if self.mode == LimiterMode::Leased && !spending.1.shut {
                self.ahead.answered(key, claim, &asked, spending, asked_at);
                pending.answered = true;
            }
        }
        answer
    }

    /// No call waited for this answer, and it is reported all the same.
    fn stands(&self, claim: &Claim, line: &Line, limit: u64) {
        let (name, counted) = (claim.name.clone(), line.counted());
        self.standings.borrow_mut().push(Standing { name, counted, limit });
    }

    /// Brings back what was taken ahead and not used. Each second.
    pub(super) fn return_old(&self) {
        let Some(redis) = &self.redis else { return };
        let can_be_told = |key: &str| !redis.parts.is_away(key);
        self.ahead.sweep(can_be_told, now_us());
        let returns = self.ahead.returns(can_be_told);
        if !returns.is_empty() {
            let (limiter, redis) = (self.clone(), redis.clone());
            spawn_local(async move { limiter.bring_back(&redis, returns).await });
        }
    }

    /// The same of everything, as the node ends.
    pub(super) async fn return_ahead(&self) {
        self.ahead.end();
        if let Some(redis) = &self.redis {
            let returns = self.ahead.returns(|key| !redis.parts.is_away(key));
            self.bring_back(redis, returns).await;
        }
    }

    async fn bring_back(&self, redis: &Redis, returns: Vec<Return>) {
        let told = async |it: &Return| {
            // What is remembered counts them; of another period it does not, and nobody counts them any more.
            let known = self.recall.known(&it.key).filter(|known| known.period == it.period);
            let Some(known) = known else { return };
            self.metrics.asked(Purpose::GiveBack);
            let (back, settled) = (it.back, it.settled);
            let asked = Asked { settled, ..Asked::ONE };
            let told = Told { known: Some(known), back, asked, ..Told::default() };
            if let Ok(line) = redis.tell(&it.key, &it.claim, &told).await {
                self.counted(&it.key, &it.claim, &line);
                self.stands(&it.claim, &line, it.limit);
            }
        };
        for some in returns.chunks(TOLD_AT_ONCE) {
            join_all(some.iter().map(&told)).await;
        }
    }
}

/// Tells Redis what was let through of quotas without it. Gives whether it took all.
pub(super) async fn tell_quotas(
    redis: &Redis,
    local: &Local,
    which: impl Fn(&str) -> bool,
) -> bool {
    let debts = local.debts(which);
    let answers = debts.iter().map(async |debt| {
        let told = Told { made: debt.calls, ..Told::default() };
        let taken = redis.tell(&debt.key, &debt.claim, &told).await.is_ok();
        local.told(debt, taken);
        taken
    });
    join_all(answers).await.into_iter().all(|taken| taken)
}

/// The answer of a quota's script.
impl FromRedisValue for QuotaAnswer {
    fn from_redis_value(answer: Value) -> Result<Self, ParsingError> {
        let (taken, remaining, at_s, (from_s, until_s), period, over, limit, used, line, batch) =
            <(i64, u64, i64, (i64, i64), String, i64, u64, u64, _, (u64, u64, u64))>::from_redis_value(
                answer,
            )?;
        if taken == -1 {
            return Ok(Self::Elsewhen(at_s));
        }
        let (born_us, taken_ever, base, whole, by_node, by_ledger): (u64, _, _, i64, _, _) = line;
        let (ahead, held, still_s) = batch;
        let seconds =
            |from: i64, until: i64| u64::try_from(until.saturating_sub(from)).unwrap_or(0);
        let known = Known { period: period.into(), born_us, used, taken: taken_ever, base };
        let restored = Restored { by_node, by_ledger };
        let (whole, shut) = (whole == 1, taken == -2);
        let line = Line { known, from_s, until_s, at_s, whole, shut, restored, ahead, held };
        let spent = Spent {
            allowed: taken == 1,
            over: over == 1,
            remaining,
            limit,
            resets_in_s: seconds(at_s, until_s),
            period_s: seconds(from_s, until_s),
            held: if still_s <= COMES_BACK_S { held } else { 0 },
            how: How::Exact,
            counted: Some(line.counted()),
        };
        Ok(Self::Spent(Spending(spent, line)))
    }
}
