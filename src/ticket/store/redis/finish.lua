-- Stores the reply to a text if the lease is still held. Returns 0 if it is not.
--
-- KEYS     the ticket, its leases; see begin.lua
-- ARGV     digest, fence, reply
local digest, fence = ARGV[1], ARGV[2]
local state = redis.call('HGET', KEYS[1], 's' .. digest)
if not state or string.sub(state, 2, 17) ~= fence then return 0 end
-- Already finished by the same lease: the first reply stays.
if string.sub(state, 1, 1) ~= 'D' then
  -- First a command that frees memory: a Redis that is full then accepts the rest of the script.
  redis.call('ZREM', KEYS[2], digest)
  redis.call('HSET', KEYS[1], 's' .. digest, 'D' .. fence, 'r' .. digest, ARGV[3])
end
return 1
