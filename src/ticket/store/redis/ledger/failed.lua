-- Compiled before release.lua, which releases the text of a handler that failed. Makes the row of
-- its ticket due earlier, unless it is claimed, or has a counted attempt.
--
-- KEYS     those of release.lua, then due, claims (see rows.lua)
-- ARGV     those of release.lua, then nonce, due (ms)
local due = redis.call('ZSCORE', KEYS[4], ARGV[5])
local claim = redis.call('HGET', KEYS[5], ARGV[5])
local claimed = claim and claim ~= string.rep('\0', 16) .. '0'
if due and tonumber(due) > tonumber(ARGV[6]) and not claimed then
  redis.call('ZREM', KEYS[4], ARGV[5])
  redis.call('ZADD', KEYS[4], ARGV[6], ARGV[5])
end
