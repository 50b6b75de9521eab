-- Makes a row due earlier, unless it is claimed.
--
-- KEYS     due, claims
-- ARGV     nonce, due (ms)
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due or tonumber(due) <= tonumber(ARGV[2]) then return 0 end
local claim = redis.call('HGET', KEYS[2], ARGV[1])
if claim and string.sub(claim, 1, 16) ~= string.rep('\0', 16) then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return 1
