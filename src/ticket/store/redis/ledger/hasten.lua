-- Makes a row due earlier, unless it is claimed, or has a counted attempt.
--
-- KEYS     due, claims
-- ARGV     nonce, due (ms)
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if not due or tonumber(due) <= tonumber(ARGV[2]) then return 0 end
local claim = redis.call('HGET', KEYS[2], ARGV[1])
if claim and claim ~= string.rep('\0', 16) .. '0' then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return 1
