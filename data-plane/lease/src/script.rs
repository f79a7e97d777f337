//! The store's side: what Redis runs, each of them as a whole.
//!
//! KEYS[1] is the bucket, a hash: `tokens`; `at`, Redis' clock when it was last looked at (µs); `own`, the time that
//! has passed forward since it was made (µs), by which leases end; `out`, what all nodes may still hold; `first`, when
//! the first of the leases ends, or earlier; and `n:{node}` for each lease: number, what that node may hold, end, and
//! the last answer. The whole is forgotten by Redis once it must be full again. `tokens` is below nothing where calls were
//! let through beside the bucket ([`SETTLE`]).

/// Brings the bucket up to now: leases that ended are dropped, in their order, and the refill of each span stops at
/// burst − what was out in it.
macro_rules! look {
    () => {
        r"
local key, rate, burst = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local kept = redis.call('HMGET', key, 'tokens', 'at', 'own', 'out', 'first')
local tokens, at, own = tonumber(kept[1] or burst), tonumber(kept[2] or now), tonumber(kept[3] or 0)
local out, first = tonumber(kept[4] or 0), tonumber(kept[5] or 0)
local ends = own + math.max(0, now - at)
local function refill(to, held)
  if to > own then
    tokens = tokens + (to - own) * rate / 1000000
    own = to
  end
  tokens = math.min(math.max(0, burst - held), tokens)
end
if first > 0 and first <= ends then
  first = 0
  local ended, all = {}, redis.call('HGETALL', key)
  for index = 1, #all, 2 do
    if string.sub(all[index], 1, 2) == 'n:' then
      local held, to = string.match(all[index + 1], '^%d+ (%d+) (%d+)')
      held, to = tonumber(held), tonumber(to)
      if to <= ends then
        ended[#ended + 1] = {to, held, all[index]}
      elseif first == 0 or to < first then
        first = to
      end
    end
  end
  table.sort(ended, function(a, b) return a[1] < b[1] end)
  for _, lease in ipairs(ended) do
    refill(lease[1], out)
    out = out - lease[2]
    redis.call('HDEL', key, lease[3])
  end
end
local function keep(ttl)
  redis.call('HSET', key, 'tokens', string.format('%.17g', tokens), 'at', string.format('%.0f', now),
    'own', string.format('%.0f', own), 'out', string.format('%.0f', out), 'first', string.format('%.0f', first))
  if rate > 0 then
    local full = math.ceil((burst - tokens) * 1000 / rate)
    redis.call('PEXPIRE', key, string.format('%.0f', math.min(math.max(full, ttl / 1000) + 1000, 4e12)))
  else
    redis.call('PERSIST', key)
  end
end
"
    };
}

/// Reports what a node's lease holds, returns what it took out of it, and asks for more, in any combination.
///
/// ARGV: rate, burst, node, number, unspent, returned, wanted, callers waiting, live nodes, how long ago the lease ran
/// dry (µs; 0: it did not), how long it is to be counted (µs). Gives what [`Answer::from_store`](crate::Answer) reads:
/// tokens granted (-1: a number that is lower than the last), what of the unspent is still counted, whether the lease
/// was known, whole tokens left, µs to the next token (-1: never), µs until the refill stops for want of room (-1:
/// never).
///
/// A grant is min(wanted, tokens ÷ 2 · nodes), of which the node may hold some already, and at least 1 where it holds
/// nothing; callers that wait get theirs in any case, since what they take lies nowhere.
pub const EXCHANGE: &str = concat!(
    look!(),
    r"
local node, number = 'n:' .. ARGV[3], tonumber(ARGV[4])
local unspent, back, want = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local waiting, nodes, dry, ttl = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local record = redis.call('HGET', key, node)
local last, mine, to, granted, held = 0, 0, 0, 0, 0
if record then
  last, mine, to, granted, held = string.match(record, '^(%d+) (%d+) (%d+) (%d+) (%d+)$')
  last, mine, granted, held = tonumber(last), tonumber(mine), tonumber(granted), tonumber(held)
end
if record and number <= last then
  refill(ends, out)
  if number < last then
    granted, held = -1, 0
  end
else
  held = math.min(unspent, mine)
  local returned = math.min(back, mine - held)
  local occupied = out - mine + held + returned
  refill(ends - math.min(dry, ends - own), out)
  refill(ends, occupied)
  tokens = tokens + returned
  out = occupied - returned
  granted = 0
  if want > 0 and tokens >= 1 then
    granted = math.min(want, math.floor((tokens + held) / (2 * nodes)) - held)
    granted = math.min(math.max(granted, waiting, held > 0 and 0 or 1), math.floor(tokens))
    tokens = tokens - granted
  end
  mine = held + granted
  out = out + granted
  to = ends + ttl
  if first == 0 or to < first then
    first = to
  end
  redis.call('HSET', key, node, string.format('%.0f %.0f %.0f %.0f %.0f', number, mine, to, granted, held))
end
keep(ttl)
local next, stop = -1, -1
if tokens >= 1 then
  next = 0
elseif rate > 0 then
  next = math.min(math.ceil((1 - tokens) * 1000000 / rate), 4e15)
end
if next > 0 and burst - (out - mine) < 1 then
  next = math.max(next, first - own)
end
if rate > 0 then
  stop = math.min(math.floor(math.max(0, burst - out - tokens) * 1000000 / rate), 4e15)
end
return {granted, held, record and 1 or 0, math.floor(tokens), next, stop}
"
);

/// Takes one token for a call that waits. ARGV: rate, burst. Gives: taken, whole tokens left, ms to the next token, ms
/// to full; -1: never.
pub const TAKE: &str = concat!(
    look!(),
    r"
refill(ends, out)
local taken = 0
if tokens >= 1 then
  tokens = tokens - 1
  taken = 1
end
keep(0)
local to_next, to_full = -1, -1
if rate > 0 then
  to_next = math.min(math.ceil(math.max(0, 1 - tokens) * 1000 / rate), 4e15)
  to_full = math.min(math.ceil((burst - tokens) * 1000 / rate), 4e15)
end
return {taken, math.max(0, math.floor(tokens)), to_next, to_full}
"
);

/// Takes what was let through while this could not be asked: tokens that are there, and then those that come, but never
/// more than a burst of them. ARGV: rate, burst, calls.
pub const SETTLE: &str = concat!(
    look!(),
    r"
refill(ends, out)
tokens = math.max(math.min(tokens, -burst), tokens - tonumber(ARGV[3]))
keep(0)
return 0
"
);

/// Puts a token back that a refused call had taken by [`TAKE`]. ARGV: burst.
pub const GIVE_BACK: &str = r"
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'out')
if kept[1] then
  local room = math.max(0, tonumber(ARGV[1]) - tonumber(kept[2] or 0))
  redis.call('HSET', KEYS[1], 'tokens', string.format('%.17g', math.min(room, tonumber(kept[1]) + 1)))
end
return 0
";

/// What of a script the store's clock is read by, for tests to set it.
#[cfg(test)]
pub(crate) const CLOCK: &str = "redis.call('TIME')";
