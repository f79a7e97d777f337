//! Where limits are counted: in Redis, by one script for each question, on Redis's own clock.

use std::time::Duration;

use futures_util::future::join_all;
use redis::{
    Client, RedisResult, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use tokio::time::timeout;

use super::throttle::Throttle;
use crate::{
    gateway_response::{GatewayResponse, Kind},
    snapshot::served::{Period, Quota},
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

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
/// KEYS: quota. ARGV: limit, period. Gives: taken, calls left, seconds to the period's end, its length.
const SPEND: &str = r"
local limit, period = tonumber(ARGV[1]), ARGV[2]
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
local used = kept[1] == name and tonumber(kept[2]) or 0
local taken = 0
if used < limit then
  used = used + 1
  taken = 1
  redis.call('HSET', KEYS[1], 'period', name, 'used', string.format('%.0f', used))
  redis.call('EXPIREAT', KEYS[1], string.format('%.0f', (last + 1) * 86400))
end
return {taken, math.max(0, limit - used), last * 86400 - now, (last - first) * 86400}
";

/// One data thread's way to Redis.
pub(crate) struct Limiter {
    connection: Option<ConnectionManager>,
    /// How long a call may wait for an answer about its limits.
    timeout: Duration,
    take: Script,
    give_back: Script,
    spend: Script,
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
}

/// What a quota answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) allowed: bool,
    pub(crate) remaining: u64,
    pub(crate) resets_in_s: u64,
    pub(crate) period_s: u64,
}

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
        timeout: Duration,
        errors: prometheus::IntCounter,
    ) -> RedisResult<Self> {
        let connect = |url: &str| {
            let config = ConnectionManagerConfig::new()
                .set_connection_timeout(Some(CONNECT_TIMEOUT))
                .set_response_timeout(Some(timeout))
                .set_min_delay(Duration::from_millis(50))
                .set_max_delay(Duration::from_secs(1));
            ConnectionManager::new_lazy_with_config(Client::open(url)?, config)
        };
        Ok(Self {
            connection: url.map(connect).transpose()?,
            timeout,
            take: Script::new(TAKE),
            give_back: Script::new(GIVE_BACK),
            spend: Script::new(SPEND),
            errors,
        })
    }

    /// Takes a token, or says how long there is none.
    pub(crate) async fn take(&self, throttle: &Throttle) -> Result<Taken, Unavailable> {
        let mut call = self.take.key(&*throttle.redis_key);
        call.arg(throttle.bucket.rate).arg(throttle.bucket.burst);
        let (taken, remaining, next, full) = self.ask::<(i64, u64, i64, i64)>(&call).await?;
        let ms = |value: i64| u64::try_from(value).ok();
        Ok(Taken { allowed: taken == 1, remaining, next_ms: ms(next), full_ms: ms(full) })
    }

    /// Puts tokens back that a refused call had taken. One that Redis does not take back is lost, which lets
    /// fewer calls through, never more.
    pub(crate) async fn give_back(&self, throttles: &[Throttle]) {
        let calls = throttles.iter().map(|throttle| async {
            let mut call = self.give_back.key(&*throttle.redis_key);
            call.arg(throttle.bucket.burst);
            let _ = self.ask::<i64>(&call).await;
        });
        join_all(calls).await;
    }

    /// Takes one call from a quota, if any is left.
    pub(crate) async fn spend(&self, redis_key: &str, quota: Quota) -> Result<Spent, Unavailable> {
        let mut call = self.spend.key(redis_key);
        call.arg(quota.limit).arg(match quota.period {
            Period::Day => "day",
            Period::Week => "week",
            Period::Month => "month",
        });
        let (taken, remaining, resets_in_s, period_s) =
            self.ask::<(i64, u64, u64, u64)>(&call).await?;
        Ok(Spent { allowed: taken == 1, remaining, resets_in_s, period_s })
    }

    async fn ask<T: redis::FromRedisValue>(
        &self,
        call: &redis::ScriptInvocation<'_>,
    ) -> Result<T, Unavailable> {
        let mut connection = self.connection.clone().ok_or(Unavailable)?;
        match timeout(self.timeout, call.invoke_async::<T>(&mut connection)).await {
            Ok(Ok(answer)) => Ok(answer),
            failed => {
                self.errors.inc();
                if let Ok(Err(error)) = failed {
                    tracing::debug!(%error, "Redis did not answer about a limit");
                }
                Err(Unavailable)
            }
        }
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
