//! Where limits are counted: in Redis, by one script for each question, on Redis's own clock.
//!
//! A call waits for an answer no longer than its budget. After a few answers in a row that did not come, nobody waits
//! any more until Redis answers in time again; until then the setting for outages decides. An answer that comes
//! too late is undone: what it took was not used.

use std::{cell::Cell, rc::Rc, sync::Arc, time::Duration};

use futures_util::future::join_all;
use proto::redis_keys;
use redis::{
    Client, FromRedisValue, ParsingError, RedisResult, Script, ToRedisArgs, Value,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::{
    sync::oneshot,
    task::spawn_local,
    time::{sleep, timeout},
};

use super::{outage::Local, throttle::Throttle};
use crate::{
    config::LimiterOutage,
    gateway_response::{GatewayResponse, Kind},
    snapshot::served::{Bucket, Period, Quota},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// After so long an answer is not waited for even to undo what it took.
const LATE_MAX: Duration = Duration::from_secs(5);
/// So many answers in a row that did not come in time, and no call waits any more.
const FAILURES_MAX: u32 = 3;
/// How often Redis is then asked whether it is back.
const PROBE_EVERY: Duration = Duration::from_millis(250);
/// A node that did not say so for so long is not alive.
const NODE_SILENT_MAX_S: u64 = 15;

/// Takes a token. The bucket is refilled for the time since it was last looked at; a clock that went back
/// refills nothing, and is believed from then on. It is forgotten once it must be full again.
/// KEYS: bucket. ARGV: tokens a second, burst. Gives: taken, tokens left, ms to the next token, ms to full.
const TAKE: &str = r"
local rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(kept[1] or burst), tonumber(kept[2] or now)
if now > at then
  tokens = tokens + (now - at) * rate / 1000000
end
at = now
tokens = math.min(burst, tokens)
local taken = 0
if tokens >= 1 then
  tokens = tokens - 1
  taken = 1
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.17g', tokens), 'at', string.format('%.0f', at))
local to_next, to_full = -1, -1
if rate > 0 then
  to_next = math.ceil(math.max(0, 1 - tokens) * 1000 / rate)
  to_full = math.ceil((burst - tokens) * 1000 / rate)
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', math.min(to_full + 1000, 4e12)))
else
  redis.call('PERSIST', KEYS[1])
end
return {taken, math.floor(tokens), to_next, to_full}
";

/// Puts a token back that a refused call had taken. KEYS: bucket. ARGV: burst.
const GIVE_BACK: &str = r"
local tokens = tonumber(redis.call('HGET', KEYS[1], 'tokens'))
if tokens then
  tokens = math.min(tonumber(ARGV[1]), tokens + 1)
  redis.call('HSET', KEYS[1], 'tokens', string.format('%.17g', tokens))
end
return 0
";

/// Takes one call from a quota. The period is read off Redis's clock, so that no two nodes disagree about it.
/// KEYS: quota. ARGV: limit, period, calls that were let through while this could not be asked. Gives: taken, calls
/// left, seconds to the period's end, its length, its name.
const SPEND: &str = r"
local limit, period, made = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local now = tonumber(redis.call('TIME')[1])
local day = math.floor(now / 86400)
local first, last = day, day + 1
if period == 'week' then
  first = day - (day + 3) % 7
  last = first + 7
elseif period == 'month' then
  -- Howard Hinnant's civil_from_days and days_from_civil; years start in March.
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local function start(month, year)
    return era * 146097 + year * 365 + math.floor(year / 4) - math.floor(year / 100)
      + math.floor(year / 400) + math.floor((153 * month + 2) / 5) - 719468
  end
  first = start(mp, yoe)
  last = mp == 11 and start(0, yoe + 1) or start(mp + 1, yoe)
end
local name = period .. string.format('%.0f', first)
local kept = redis.call('HMGET', KEYS[1], 'period', 'used')
local used = (kept[1] == name and tonumber(kept[2]) or 0) + made
local taken = 0
if used < limit then
  used = used + 1
  taken = 1
end
if taken == 1 or made > 0 then
  redis.call('HSET', KEYS[1], 'period', name, 'used', string.format('%.0f', used))
  redis.call('EXPIREAT', KEYS[1], string.format('%.0f', (last + 1) * 86400))
end
return {taken, math.max(0, limit - used), last * 86400 - now, (last - first) * 86400, name}
";

/// Puts a call back into the quota that it was taken from. KEYS: quota. ARGV: the period's name.
const UNSPEND: &str = r"
local kept = redis.call('HMGET', KEYS[1], 'period', 'used')
if kept[1] == ARGV[1] and tonumber(kept[2]) > 0 then
  redis.call('HINCRBY', KEYS[1], 'used', -1)
end
return 0
";

/// Says that a node is alive. KEYS: nodes. ARGV: node, seconds until it is forgotten. Gives: nodes alive.
const ROLL_CALL: &str = r"
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
";

/// One data thread's way to Redis, and what holds without it.
pub(crate) struct Limiter {
    redis: Option<Rc<Redis>>,
    /// How long a call may wait for an answer about its limits.
    budget: Duration,
    outage: LimiterOutage,
    local: Arc<Local>,
}

struct Redis {
    connection: ConnectionManager,
    take: Script,
    spend: Script,
    roll_call: Script,
    /// Answers in a row that did not come in time.
    failures: Cell<u32>,
    /// Whether calls are spared the wait.
    away: Cell<bool>,
    errors: prometheus::IntCounter,
}

/// What a bucket answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) allowed: bool,
    pub(crate) remaining: u64,
    /// Milliseconds until there is a token; `None`: never.
    pub(crate) next_ms: Option<u64>,
    /// Milliseconds until the bucket is full; `None`: never.
    pub(crate) full_ms: Option<u64>,
    /// Whether Redis counted it: then it can be given back.
    pub(crate) shared: bool,
}

/// What a quota answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) allowed: bool,
    pub(crate) remaining: u64,
    pub(crate) resets_in_s: u64,
    pub(crate) period_s: u64,
}

/// [`Spent`], and the name of the period that it was taken from.
pub(crate) struct Spending(pub(crate) Spent, pub(crate) String);

/// Redis is away or slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// A limit as callers are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) name: &'static str,
    pub(crate) quota: u64,
    pub(crate) window_s: Option<u64>,
    pub(crate) remaining: u64,
    pub(crate) resets_in_s: Option<u64>,
}

impl Limiter {
    /// Connects when it is first asked, and again by itself. Must be called inside the thread's runtime.
    pub(crate) fn new(
        url: Option<&str>,
        budget: Duration,
        outage: LimiterOutage,
        local: Arc<Local>,
        errors: prometheus::IntCounter,
    ) -> RedisResult<Self> {
        let redis = url.map(|url| Redis::new(url, errors)).transpose()?.map(Rc::new);
        Ok(Self { redis, budget, outage, local })
    }

    /// Takes a token, or says how long there is none.
    pub(crate) async fn take(&self, throttle: &Throttle) -> Result<Taken, Unavailable> {
        let (key, bucket) = (throttle.redis_key.clone(), throttle.bucket);
        let late_key = key.clone();
        let answer = self.ask(
            async move |redis| redis.take(&key, bucket).await,
            async move |redis, taken: Taken| {
                if taken.allowed {
                    redis.give_back(&late_key, bucket).await;
                }
            },
        );
        match (answer.await, self.outage) {
            (Ok(taken), _) => Ok(taken),
            (Err(_), LimiterOutage::LocalFallback) => {
                Ok(self.local.take(&throttle.redis_key, throttle.bucket))
            }
            (Err(_), LimiterOutage::FailOpen) => Ok(Taken::unchecked(throttle.bucket)),
            (Err(away), LimiterOutage::FailClosed) => Err(away),
        }
    }

    /// Puts tokens back that a refused call had taken. One that Redis does not take back is lost, which lets
    /// fewer calls through, never more.
    pub(crate) fn give_back(&self, throttles: Vec<Throttle>) {
        let Some(redis) = self.redis.clone().filter(|_| !throttles.is_empty()) else { return };
        // Nobody waits for it.
        spawn_local(async move {
            let back = |throttle: Throttle| {
                let redis = redis.clone();
                async move { redis.give_back(&throttle.redis_key, throttle.bucket).await }
            };
            join_all(throttles.into_iter().map(back)).await;
        });
    }

    /// Takes one call from a quota, if any is left.
    pub(crate) async fn spend(&self, redis_key: &str, quota: Quota) -> Result<Spent, Unavailable> {
        let (key, late_key) = (redis_key.to_owned(), redis_key.to_owned());
        let answer = self.ask(
            async move |redis| redis.spend(&key, quota, 0).await,
            async move |redis, Spending(spent, period)| {
                if spent.allowed {
                    redis.unspend(&late_key, &period).await;
                }
            },
        );
        match (answer.await, self.outage) {
            (Ok(Spending(spent, _)), _) => Ok(spent),
            (Err(_), LimiterOutage::LocalFallback) => Ok(self.local.spend(redis_key, quota)),
            (Err(_), LimiterOutage::FailOpen) => Ok(self.local.spend_unchecked(redis_key, quota)),
            (Err(away), LimiterOutage::FailClosed) => Err(away),
        }
    }

    /// Says that this node is alive, and learns how many are. Each second, while Redis is there.
    pub(crate) fn roll_call(&self) {
        let Some(redis) = self.redis.clone().filter(|redis| !redis.away.get()) else { return };
        let local = self.local.clone();
        spawn_local(async move {
            if let Ok(nodes) = redis.roll_call(local.node()).await {
                local.set_nodes(nodes);
            }
        });
    }

    /// The answer to a question, where it comes within the budget. The question goes on without us; `late` undoes
    /// an answer that nobody waits for any more.
    async fn ask<T: 'static>(
        &self,
        question: impl AsyncFnOnce(&Redis) -> RedisResult<T> + 'static,
        late: impl AsyncFnOnce(&Redis, T) + 'static,
    ) -> Result<T, Unavailable> {
        let redis = self.redis.clone().ok_or(Unavailable)?;
        if redis.away.get() {
            return Err(Unavailable);
        }
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
                redis.failures.set(0);
                Ok(answer)
            }
            failed => {
                redis.errors.inc();
                if let Ok(Ok(Err(error))) = failed {
                    tracing::debug!(%error, "Redis did not answer about a limit");
                }
                redis.failures.set(redis.failures.get() + 1);
                if redis.failures.get() >= FAILURES_MAX && !redis.away.replace(true) {
                    tracing::warn!(outage = ?self.outage, "Redis is away or slow; limits go on without it");
                    spawn_local(until_back(redis, self.local.clone(), self.budget));
                }
                Err(Unavailable)
            }
        }
    }
}

/// Asks Redis until it answers within the budget and knows what was let through without it.
async fn until_back(redis: Rc<Redis>, local: Arc<Local>, budget: Duration) {
    loop {
        sleep(PROBE_EVERY).await;
        let probe = redis.clone();
        let mut answer = {
            let node = local.node().to_owned();
            spawn_local(async move { probe.roll_call(&node).await.is_ok() })
        };
        let Ok(answered) = timeout(budget, &mut answer).await else {
            // Not aborted: a new connection needs longer than a call may wait.
            let _ = answer.await;
            continue;
        };
        if !answered.unwrap_or(false) {
            continue;
        }
        let mut paid = true;
        for (key, quota, calls) in local.debts() {
            if redis.spend(&key, Quota { limit: 0, ..quota }, calls).await.is_err() {
                local.owe(key, quota, calls);
                paid = false;
            }
        }
        if paid {
            tracing::info!("Redis is back; limits are exact again");
            redis.failures.set(0);
            redis.away.set(false);
            return;
        }
    }
}

impl Redis {
    fn new(url: &str, errors: prometheus::IntCounter) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(LATE_MAX))
            .set_min_delay(Duration::from_millis(50))
            .set_max_delay(Duration::from_secs(1));
        Ok(Self {
            connection: ConnectionManager::new_lazy_with_config(Client::open(url)?, config)?,
            take: Script::new(TAKE),
            spend: Script::new(SPEND),
            roll_call: Script::new(ROLL_CALL),
            failures: Cell::new(0),
            away: Cell::new(false),
            errors,
        })
    }

    async fn take(&self, key: &str, bucket: Bucket) -> RedisResult<Taken> {
        let mut call = self.take.key(key);
        call.arg(bucket.rate).arg(bucket.burst);
        call.invoke_async(&mut self.connection.clone()).await
    }

    async fn give_back(&self, key: &str, bucket: Bucket) {
        self.undo(GIVE_BACK, key, bucket.burst).await;
    }

    async fn spend(&self, key: &str, quota: Quota, made: u64) -> RedisResult<Spending> {
        let mut call = self.spend.key(key);
        call.arg(quota.limit).arg(match quota.period {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        });
        call.arg(made);
        call.invoke_async(&mut self.connection.clone()).await
    }

    async fn unspend(&self, key: &str, period: &str) {
        self.undo(UNSPEND, key, period).await;
    }

    /// The whole script in one round trip: by its hash it may need three, and the next call's question, which must
    /// find what is put back here, would overtake it.
    async fn undo(&self, script: &str, key: &str, argument: impl ToRedisArgs) {
        let mut call = redis::cmd("EVAL");
        call.arg(script).arg(1).arg(key).arg(argument);
        let _: RedisResult<i64> = call.query_async(&mut self.connection.clone()).await;
    }

    async fn roll_call(&self, node: &str) -> RedisResult<u32> {
        let mut call = self.roll_call.key(redis_keys::nodes());
        call.arg(node).arg(NODE_SILENT_MAX_S);
        call.invoke_async(&mut self.connection.clone()).await
    }
}

/// The answer of [`TAKE`].
impl FromRedisValue for Taken {
    fn from_redis_value(answer: Value) -> Result<Self, ParsingError> {
        let (taken, remaining, next, full) = <(i64, u64, i64, i64)>::from_redis_value(answer)?;
        let ms = |value: i64| u64::try_from(value).ok();
        let (next_ms, full_ms) = (ms(next), ms(full));
        Ok(Self { allowed: taken == 1, remaining, next_ms, full_ms, shared: true })
    }
}

/// The answer of [`SPEND`].
impl FromRedisValue for Spending {
    fn from_redis_value(answer: Value) -> Result<Self, ParsingError> {
        let (taken, remaining, resets_in_s, period_s, period) =
            <(i64, u64, u64, u64, String)>::from_redis_value(answer)?;
        Ok(Self(Spent { allowed: taken == 1, remaining, resets_in_s, period_s }, period))
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
            shared: false,
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
            name: throttle.name,
            quota: throttle.bucket.burst.into(),
            window_s,
            remaining: taken.remaining,
            resets_in_s: taken.full_ms.map(|ms| ms.div_ceil(1000)),
        }
    }

    pub(crate) fn of_quota(quota: Quota, spent: &Spent) -> Self {
        Self {
            name: "quota",
            quota: quota.limit,
            window_s: Some(spent.period_s),
            remaining: spent.remaining,
            resets_in_s: Some(spent.resets_in_s),
        }
    }
}
