-- Stores the reply to a text as finish.lua does, and removes the row of the ticket. Returns 0 if the
-- lease is not held any more.
--
-- KEYS     see rows.lua, then 8 the ticket, 9 its leases (see begin.lua)
-- ARGV     digest, fence, reply, longest time to live of the ticket (ms), nonce, object (empty if it
--          is of another shard), line of the settled object, until when it is remembered (ms),
--          longest life of a row (ms), settled objects that the shard may have
local state = redis.call('HGET', KEYS[8], 's' .. ARGV[1])
if not state or string.sub(state, 2, 17) ~= ARGV[2] then return 0 end
-- First commands that free memory: a Redis that is full then accepts the rest of the script.
redis.call('ZREM', KEYS[9], ARGV[1])
remove(ARGV[5])
-- Already finished by the same lease: the first reply stays.
if string.sub(state, 1, 1) ~= 'D' then
  redis.call('HSET', KEYS[8], 's' .. ARGV[1], 'D' .. ARGV[2], 'r' .. ARGV[1], ARGV[3])
end
-- Without a row, no recovery can redeem the ticket any more.
local ttl = tonumber(ARGV[4])
if redis.call('PTTL', KEYS[8]) > ttl then redis.call('PEXPIRE', KEYS[8], ttl) end
if ARGV[6] ~= '' then
  remember(ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10]))
end
return 1
