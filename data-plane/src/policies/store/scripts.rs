//! What Redis runs for quotas and to know who is alive. Throttles' are `crate lease`'s, concurrency limits' `crate permit`'s.

use redis::Script;

/// A script, called by its hash where the server has it.
pub(super) struct Lua {
    pub(super) code: &'static str,
    pub(super) hash: String,
}

impl Lua {
    pub(super) fn new(code: &'static str) -> Self {
        Self { code, hash: Script::new(code).get_hash().to_owned() }
    }
}

/// Takes one call from a quota. Which of the periods it is taken from Redis's clock decides, so that no two nodes disagree
/// about it; the count of the period before, or of other periods that the plan had a moment ago, is kept beside it.
/// KEYS: quota. ARGV: calls that were let through while this could not be asked; `hard`, `soft` (a call beyond the
/// limit is taken, too) or `none` (no call is); for each period its first second, the first after it, the calls it
/// has, its name. Gives: taken, calls left, the time, the period's first second and the first after it, its name, whether the
/// quota was used up, the calls it has, the calls taken from it; where it is none of the periods: -1, 0, the time.
pub(super) const SPEND: &str = r"
local made, how = tonumber(ARGV[1]), ARGV[2]
local now = tonumber(redis.call('TIME')[1])
for at = 3, #ARGV, 4 do
  local first, last = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  if first <= now and now < last then
    local limit, name = tonumber(ARGV[at + 2]), ARGV[at + 3]
    local kept = redis.call('HMGET', KEYS[1], 'period', 'used', 'other', 'other_used')
    local used = made
    if kept[1] == name then
      used = used + tonumber(kept[2])
    elseif kept[3] == name then
      used = used + tonumber(kept[4])
    end
    local over = used >= limit and 1 or 0
    local taken = 0
    if how == 'soft' or (how == 'hard' and over == 0) then
      used = used + 1
      taken = 1
    end
    if taken == 1 or made > 0 then
      if kept[1] and kept[1] ~= name then
        redis.call('HSET', KEYS[1], 'other', kept[1], 'other_used', kept[2])
      end
      redis.call('HSET', KEYS[1], 'period', name, 'used', string.format('%.0f', used))
      redis.call('EXPIREAT', KEYS[1], string.format('%.0f', last + 86400))
    end
    return {taken, math.max(0, limit - used), now, {first, last}, name, over, limit, used}
  end
end
return {-1, 0, now, {0, 0}, '', 0, 0, 0}
";

/// Puts a call back into the quota that it was taken from. KEYS: quota. ARGV: the period's name.
pub(super) const UNSPEND: &str = r"
local kept = redis.call('HMGET', KEYS[1], 'period', 'used', 'other', 'other_used')
if kept[1] == ARGV[1] and tonumber(kept[2]) > 0 then
  redis.call('HINCRBY', KEYS[1], 'used', -1)
elseif kept[3] == ARGV[1] and tonumber(kept[4]) > 0 then
  redis.call('HINCRBY', KEYS[1], 'other_used', -1)
end
return 0
";

/// Says that a node is alive. KEYS: nodes. ARGV: node, seconds until it is forgotten. Gives: nodes alive.
pub(super) const ROLL_CALL: &str = r"
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
";
