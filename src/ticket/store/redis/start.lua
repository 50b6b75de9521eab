-- Uses up a text immediately before its handler is called. Returns 0 if the lease is lost.
--
-- KEYS     the ticket, its leases; see begin.lua
-- ARGV     digest, fence
local state = redis.call('HGET', KEYS[1], 's' .. ARGV[1])
if not state or string.sub(state, 2, 17) ~= ARGV[2] then return 0 end
local kind = string.sub(state, 1, 1)
if kind == 'U' or kind == 'C' then
  redis.call('ZREM', KEYS[2], ARGV[1])
  redis.call('HSET', KEYS[1], 's' .. ARGV[1], 'S' .. ARGV[2])
end
return 1
