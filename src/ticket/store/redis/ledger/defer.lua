-- Releases a claimed row. Returns 0 if the claim is lost.
--
-- KEYS     rows, due, expiry, claims
-- ARGV     nonce, token of the claim, due (ms), attempts, how long an expired row is kept (ms)
local claim = redis.call('HGET', KEYS[4], ARGV[1])
if not claim or redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
if string.sub(claim, 1, 16) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
-- Before it is freed, a recovery must find it expired.
local till = tonumber(redis.call('ZSCORE', KEYS[3], ARGV[1]) or 0) - tonumber(ARGV[5])
local due = math.min(tonumber(ARGV[3]), till)
redis.call('ZADD', KEYS[2], string.format('%.0f', due), ARGV[1])
redis.call('HSET', KEYS[4], ARGV[1], string.rep('\0', 16) .. ARGV[4])
return 1
