-- Releases a text if the lease is still held and no reply is stored.
--
-- KEYS     the ticket, its leases, the mark of an abandoned attempt; see begin.lua
-- ARGV     digest, fence, why ("ran", "not run", or "refused" by OSS and not run), life of the mark
--          (ms)
local digest, fence = ARGV[1], ARGV[2]
local state = redis.call('HGET', KEYS[1], 's' .. digest)
local held = state and string.sub(state, 2, 17) == fence
local kind = held and string.sub(state, 1, 1)
if kind == 'D' then return 1 end
if held then
  redis.call('HDEL', KEYS[1], 's' .. digest)
  redis.call('ZREM', KEYS[2], digest)
  local texts = redis.call('HINCRBY', KEYS[1], 'texts', -1)
  local starts = tonumber(redis.call('HGET', KEYS[1], 'starts') or 0)
  if kind == 'C' and ARGV[3] ~= 'ran' then
    starts = redis.call('HINCRBY', KEYS[1], 'starts', -1)
  end
  if ARGV[3] == 'refused' then redis.call('HINCRBY', KEYS[1], 'refusals', 1) end
  local refusals = tonumber(redis.call('HGET', KEYS[1], 'refusals') or 0)
  -- An abandoned ticket takes no memory.
  if texts == 0 and starts == 0 and refusals == 0 then redis.call('DEL', KEYS[1]) end
end
-- A `begin` of this attempt can still be under way, as the first copy or a second one.
redis.call('SET', KEYS[3], 1, 'PX', ARGV[4])
return 1
