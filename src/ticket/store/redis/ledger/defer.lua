-- Releases a claimed row. Returns 0 if the claim is lost.
--
-- KEYS     rows, due, expiry, claims
-- ARGV     nonce, token of the claim, due (ms), attempts, how long an expired row is kept (ms)
local claim = redis.call('HGET', KEYS[4], ARGV[1])
if not claim or redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 0 end
local free = string.rep('\0', 16) .. ARGV[4]
local asked = tonumber(ARGV[3])
local ends = tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or 0)
local freed = tonumber(redis.call('ZSCORE', KEYS[3], ARGV[1]) or asked)
-- Before it is freed, a recovery must find it expired.
local till = freed - tonumber(ARGV[5])
local early, late = math.min(asked, till), math.min(asked, freed)
-- The same call, repeated because its response was lost.
if claim == free and (ends == early or ends == late) then return 1 end
if string.sub(claim, 1, 16) ~= ARGV[2] then return 0 end
-- A time before the end of the claim may have passed already. Due then, the row would be found again
-- at once, and without end.
local due = late
if till > ends then due = early end
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[2], string.format('%.0f', due), ARGV[1])
redis.call('HSET', KEYS[4], ARGV[1], free)
return 1
