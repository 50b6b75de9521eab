-- Releases a text if the lease is still held and no reply is stored.
--
-- KEYS[1]  the ticket
-- ARGV     digest, fence
local state = redis.call('HGET', KEYS[1], 's' .. ARGV[1])
if state and string.sub(state, 1, 17) == 'R' .. ARGV[2] then
  redis.call('HDEL', KEYS[1], 's' .. ARGV[1])
end
return 1
