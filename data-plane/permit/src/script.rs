//! The store's side: what Redis runs, as a whole.
//!
//! KEYS[1] is the limit, a hash: `at`, Redis' clock when it was last looked at (µs); `own`, the time that has passed forward
//! since it was made (µs), by which declarations end; and `n:{node}` for each declaration: number, permits that the node
//! may hold, its end, and what it was answered. The whole is forgotten by Redis once all of them must be over.

/// Takes a node's declaration, and says how many permits it may hold from then on.
///
/// ARGV: limit, node, number, permits held, wanted beside them, callers waiting (who are part of those wanted), live
/// nodes, how long it is to be counted (µs). Gives what [`Answer::from_store`](crate::Answer) reads: the node's allowance
/// (-1: a number that is lower than the last), whether an earlier declaration was known, permits that nobody holds.
///
/// Callers that wait get theirs while there are any. What is wanted beyond that is given up to free ÷ 2 · nodes. A node that
/// holds more than there is room for is told to hold less, and counted with what it says until it does.
pub const DECLARE: &str = r"
local key, limit, node, number = KEYS[1], tonumber(ARGV[1]), 'n:' .. ARGV[2], tonumber(ARGV[3])
local holds, want, waiting = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local nodes, ttl = tonumber(ARGV[7]), tonumber(ARGV[8])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local kept = redis.call('HMGET', key, 'at', 'own')
local ends = tonumber(kept[2] or 0) + math.max(0, now - tonumber(kept[1] or now))
local others, known, last, held, may = 0, 0, 0, 0, 0
local all = redis.call('HGETALL', key)
for index = 1, #all, 2 do
  if string.sub(all[index], 1, 2) == 'n:' then
    local its_number, its_held, to, its_may = string.match(all[index + 1], '^(%d+) (%d+) (%d+) (%d+)$')
    if tonumber(to) <= ends then
      redis.call('HDEL', key, all[index])
    elseif all[index] == node then
      known, last, held, may = 1, tonumber(its_number), tonumber(its_held), tonumber(its_may)
    else
      others = others + tonumber(its_held)
    end
  end
end
if known == 1 and number < last then
  may = -1
elseif known == 0 or number > last then
  local free = math.max(0, limit - others - holds)
  local granted = math.min(free, math.max(waiting, math.min(want, math.floor(free / (2 * nodes)))))
  may = math.min(holds, math.max(0, limit - others)) + granted
  held = math.max(holds, may)
  redis.call('HSET', key, node, string.format('%.0f %.0f %.0f %.0f', number, held, ends + ttl, may))
end
redis.call('HSET', key, 'at', string.format('%.0f', now), 'own', string.format('%.0f', ends))
redis.call('PEXPIRE', key, string.format('%.0f', ttl / 1000 + 1000))
return {may, known, math.max(0, limit - others - held)}
";

/// What of the script the store's clock is read by, for tests to set it.
#[cfg(test)]
pub(crate) const CLOCK: &str = "redis.call('TIME')";
