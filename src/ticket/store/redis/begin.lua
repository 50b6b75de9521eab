-- Redeems a ticket for a text, unless it is running, finished, or beyond the limit of the ticket.
--
-- KEYS[1]  the ticket: a hash of "s" + digest -> state, and "r" + digest -> reply
-- ARGV     digest, fence (16 bytes), lease (ms), time to live (ms), limit of texts (0: just one)
--
-- A state is "R" + fence + expiry of the lease (ms, by the clock of this server), or "D" + fence.
local key, digest, fence = KEYS[1], ARGV[1], ARGV[2]
local lease, ttl, max = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- Returns the rest of a lease, or nil if it has expired or the state is not running.
local function left(state)
  if string.sub(state, 1, 1) ~= 'R' then return nil end
  local rest = (tonumber(string.sub(state, 18)) or 0) - now
  if rest > 0 then return rest end
end

local known = redis.call('HGET', key, 's' .. digest)
if known then
  if string.sub(known, 1, 1) == 'D' then
    return {'stored', redis.call('HGET', key, 'r' .. digest)}
  end
  -- The same call, repeated because its response was lost.
  if string.sub(known, 2, 17) == fence then return {'fresh'} end
  local rest = left(known)
  if rest then return {'running', rest} end
elseif max == 0 or redis.call('HLEN', key) >= max then
  -- An expired lease does not count: a crashed handler must not use up the ticket for others.
  local texts = 0
  for _, field in ipairs(redis.call('HKEYS', key)) do
    if string.sub(field, 1, 1) == 's' then
      local state = redis.call('HGET', key, field)
      if string.sub(state, 1, 1) == 'D' or left(state) then
        texts = texts + 1
      else
        redis.call('HDEL', key, field)
      end
    end
  end
  if max == 0 and texts > 0 then return {'other'} end
  if max > 0 and texts >= max then return {'exhausted'} end
end

redis.call('HSET', key, 's' .. digest, 'R' .. fence .. string.format('%.0f', now + lease))
if redis.call('PTTL', key) < ttl then redis.call('PEXPIRE', key, ttl) end
return {'fresh'}
