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

/// How long a line that is not whole refuses, for those who would rather refuse than exceed: then what is known must do.
pub(super) const SHUT_MAX_S: i64 = 10;

/// Takes one call from a quota. Which of the periods it is taken from Redis's clock decides, so that no two nodes disagree
/// about it; the count of the period before, or of other periods that the plan had a moment ago, is kept beside it. `line`
/// is the rest of what is known of a count: its period, and what `policies/recall.rs` says. `held` is what `policies/ahead.rs`
/// says: the period, the calls that were taken ahead and are not settled, and when there were last others.
/// KEYS: quota. ARGV: calls that were let through while this could not be asked; `hard`, `soft` (a call beyond the
/// limit is taken, too) or `none` (no call is); what the node was last told: the period's name, born, used, taken, base; what the
/// ledger has of that period, or -1; since when this Redis remembers where a line that is not whole is to refuse, or -1,
/// and for how long; how many more calls to take ahead, each the given part of what is left at most, whether a call waits for the
/// first, how many that were taken ahead are settled, and how many of those were not made; for each period its first second, the first after it, the calls it has, its name. Gives: taken, calls
/// left, the time, the period's first second and the first after it, its name, whether the quota was used up, the calls it
/// has, the calls taken from it, and of its line: born, taken, base, whether it is whole, calls that the node restored, and the
/// ledger; the calls taken ahead, those that are held, and for how many seconds none was taken or settled; where it is none of
/// the periods: taken is -1 and only the time is told; where the line refuses: -2.
pub(super) const SPEND: &str = r"
local made, how = tonumber(ARGV[1]), ARGV[2]
local told = {period = ARGV[3], born = tonumber(ARGV[4]), used = tonumber(ARGV[5]), taken = tonumber(ARGV[6]),
  base = tonumber(ARGV[7])}
local ledger, since, shut_max = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local want, part, waits = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local settled, unmade = tonumber(ARGV[14]), tonumber(ARGV[15])
local time = redis.call('TIME')
local now = tonumber(time[1])
local changed = made > 0 or unmade > 0
local function line(period, used, text)
  local of, born, base, back, whole = string.match(text or '', '^(%S+) (%d+) (%d+) (%d+) (%d)$')
  if of ~= period then
    born, base, back, whole = 0, 0, 0, 1
    changed = true
  end
  return {used = tonumber(used), born = tonumber(born), base = tonumber(base), back = tonumber(back),
    whole = tonumber(whole)}
end
for at = 16, #ARGV, 4 do
  local first, last = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  if first <= now and now < last then
    local limit, name = tonumber(ARGV[at + 2]), ARGV[at + 3]
    local kept = redis.call('HMGET', KEYS[1], 'period', 'used', 'line', 'other', 'other_used', 'other_line', 'held')
    local it
    if kept[1] == name then
      it = line(name, kept[2], kept[3])
    elseif kept[4] == name then
      it = line(name, kept[5], kept[6])
    else
      it = {used = 0, born = now * 1000000 + tonumber(time[2]), base = 0, back = 0, whole = kept[1] and 1 or 0}
    end
    local by_node, by_ledger = 0, 0
    if told.period == name then
      local used = it.used
      if told.born < it.born and told.used > it.base then
        it.used = used + told.used - it.base
        it.base = told.used
        changed = true
      elseif told.born == it.born and told.taken > used + it.back then
        it.used = math.max(used, told.used)
        it.base = math.max(it.base, told.base)
        it.back = told.taken - it.used
        changed = true
      elseif told.born > it.born then
        it.used = math.max(used, told.used)
        it.born, it.base, it.back = told.born, it.used, math.max(0, told.taken - it.used)
        changed = true
      end
      by_node = it.used - used
      if ledger > it.used then
        by_ledger = ledger - it.used
        it.used, it.base = ledger, it.base + by_ledger
        changed = true
      end
      if ledger >= 0 and it.whole == 0 then
        it.whole = 1
        changed = true
      end
    end
    if told.period == name then
      local back = math.min(unmade, it.used)
      it.used, it.back = it.used - back, it.back + back
    end
    it.used = it.used + made
    local of, held, held_at = string.match(kept[7] or '', '^(%S+) (%d+) (%d+)$')
    held, held_at = of == name and tonumber(held) or 0, tonumber(held_at) or now
    local over = it.used >= limit and 1 or 0
    local taken, ahead = 0, 0
    if since > first and it.whole == 0 and now - it.born / 1000000 < shut_max then
      taken = -2
    elseif how == 'soft' or (how == 'hard' and over == 0) then
      it.used = it.used + 1
      taken = 1
      if over == 1 then
        ahead = want
      else
        ahead = math.min(want, math.floor((limit - it.used) / part))
      end
      it.used = it.used + ahead
    end
    local more = ahead + taken * (1 - waits)
    if more > 0 or (settled > 0 and kept[7]) then
      held, held_at = math.max(0, held - settled) + more, now
      redis.call('HSET', KEYS[1], 'held', string.format('%s %.0f %.0f', name, held, held_at))
    end
    if kept[1] == name and not changed then
      if taken == 1 then
        redis.call('HINCRBY', KEYS[1], 'used', 1 + ahead)
      end
    elseif taken ~= 0 or changed then
      if kept[1] and kept[1] ~= name then
        redis.call('HSET', KEYS[1], 'other', kept[1], 'other_used', kept[2], 'other_line', kept[3] or '')
      end
      redis.call('HSET', KEYS[1], 'period', name, 'used', string.format('%.0f', it.used),
        'line', string.format('%s %.0f %.0f %.0f %d', name, it.born, it.base, it.back, it.whole))
      redis.call('EXPIREAT', KEYS[1], string.format('%.0f', last + 86400))
    end
    return {taken, math.max(0, limit - it.used), now, {first, last}, name, over, limit, it.used,
      {it.born, it.used + it.back, it.base, it.whole, by_node, by_ledger}, {ahead, held, now - held_at}}
  end
end
return {-1, 0, now, {0, 0}, '', 0, 0, 0, {0, 0, 0, 0, 0, 0}, {0, 0, 0}}
";

/// Puts a call back into the quota that it was taken from. KEYS: quota. ARGV: the period's name.
pub(super) const UNSPEND: &str = r"
local kept = redis.call('HMGET', KEYS[1], 'period', 'used', 'line', 'other', 'other_used', 'other_line')
for at, prefix in pairs({[1] = '', [4] = 'other_'}) do
  if kept[at] == ARGV[1] and tonumber(kept[at + 1]) > 0 then
    redis.call('HINCRBY', KEYS[1], prefix .. 'used', -1)
    local head, back, whole = string.match(kept[at + 2] or '', '^(%S+ %d+ %d+) (%d+) (%d)$')
    if head then
      redis.call('HSET', KEYS[1], prefix .. 'line', string.format('%s %.0f %s', head, back + 1, whole))
    end
    return 0
  end
end
return 0
";

/// Says since when this part of Redis remembers. KEYS: its marker. Gives: the moment in µs, which no two markers share, and
/// whether it remembers from now on.
pub(super) const REMEMBER: &str = r"
local since = redis.call('GET', KEYS[1])
if since then
  return {tonumber(since), 0}
end
local time = redis.call('TIME')
local now = string.format('%.0f', tonumber(time[1]) * 1000000 + tonumber(time[2]))
redis.call('SET', KEYS[1], now)
return {tonumber(now), 1}
";

/// Says that a node is alive. KEYS: nodes. ARGV: node, seconds until it is forgotten. Gives: nodes alive.
pub(super) const ROLL_CALL: &str = r"
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return redis.call('ZCARD', KEYS[1])
";
