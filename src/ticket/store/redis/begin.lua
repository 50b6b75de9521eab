-- Redeems a ticket for a text, unless it is held, finished, or beyond the limits of the ticket.
--
-- KEYS[1]  the ticket, a hash:
--            "s" + digest -> state of a text
--            "r" + digest -> its reply
--            "texts"      -> how many texts have a state
--            "starts"     -> how often the handler was started
--            "refusals"   -> how many of its callbacks OSS refuted
--            "spent"      -> a caller was told that the starts or the refusals are used up
-- KEYS[2]  its leases, a sorted set of digests by expiry (ms, by the clock of this server)
-- KEYS[3]  exists if this attempt was abandoned
-- ARGV     digest, fence (16 bytes), lease (ms), time to live (ms), limit of texts, limit of starts,
--          "C" if the start counts now, or "U" if `start` follows, limit of refusals
--
-- A state is a letter, the fence, and for "C" and "U" the expiry of the lease:
--   C  held, and the start is counted       U  held, and not started
--   S  started, and used up                 D  done
--
-- No step depends on the number of texts. In this and every other script, the key of a command is
-- written as `KEYS[n]`: proxies of Tair reject a script with a variable in this place.
local digest, fence = ARGV[1], ARGV[2]
local lease, ttl, max_texts, max_starts = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function number(field) return tonumber(redis.call('HGET', KEYS[1], field) or 0) end

if redis.call('EXISTS', KEYS[3]) == 1 then return {'abandoned'} end
local known = redis.call('HGET', KEYS[1], 's' .. digest)
local lapsed
if known then
  local kind = string.sub(known, 1, 1)
  if kind == 'D' then return {'stored', redis.call('HGET', KEYS[1], 'r' .. digest)} end
  -- The same call, repeated because its response was lost.
  if string.sub(known, 2, 17) == fence then return {'fresh'} end
  if kind == 'S' then return {'running', ttl} end
  local rest = (tonumber(string.sub(known, 18)) or 0) - now
  if rest > 0 then return {'running', rest} end
  lapsed = digest
elseif number('texts') >= max_texts then
  -- An expired lease does not count: a crashed handler must not use up the ticket for others.
  lapsed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1)[1]
  if not lapsed then return {'full'} end
end
if number('starts') >= max_starts or number('refusals') >= tonumber(ARGV[8]) then
  return {'spent', redis.call('HSETNX', KEYS[1], 'spent', 1)}
end

local ends = string.format('%.0f', now + lease)
redis.call('HSET', KEYS[1], 's' .. digest, ARGV[7] .. fence .. ends)
if not lapsed then
  redis.call('HINCRBY', KEYS[1], 'texts', 1)
elseif lapsed ~= digest then
  redis.call('HDEL', KEYS[1], 's' .. lapsed)
  redis.call('ZREM', KEYS[2], lapsed)
end
if ARGV[7] == 'C' then redis.call('HINCRBY', KEYS[1], 'starts', 1) end
redis.call('ZADD', KEYS[2], ends, digest)
if redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end
if redis.call('PTTL', KEYS[2]) < ttl then redis.call('PEXPIRE', KEYS[2], ttl) end
return {'fresh'}
