-- Adds rows, all or none. Returns 1, or 0 if the shard has no room, and the number of open rows
-- that expired.
--
-- KEYS     see rows.lua
-- ARGV     now (ms), rows that the shard may have, longest life of a row (ms), then for each row:
--          nonce, object and seconds of the grant and row, due (ms), when it is freed (ms)
local now, room, longest = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local expired = free(now, (#ARGV - 3) + 4)
local new = {}
for at = 4, #ARGV, 4 do
  -- One that exists is the same call, repeated because its response was lost.
  if redis.call('HEXISTS', KEYS[1], ARGV[at]) == 0 then new[#new + 1] = at end
end
if redis.call('HLEN', KEYS[1]) + #new > room then return {0, expired} end
for _, at in ipairs(new) do
  redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  redis.call('ZADD', KEYS[2], ARGV[at + 2], ARGV[at])
  redis.call('ZADD', KEYS[3], ARGV[at + 3], ARGV[at])
  redis.call('ZADD', KEYS[4], 0, string.sub(ARGV[at + 1], 1, 24) .. ARGV[at])
  -- What is known of the object is needed as long as this row.
  local object = string.sub(ARGV[at + 1], 1, 16)
  local till = redis.call('ZSCORE', KEYS[7], object)
  if till and tonumber(till) < tonumber(ARGV[at + 3]) then
    redis.call('ZADD', KEYS[7], ARGV[at + 3], object)
    if redis.call('PTTL', KEYS[6]) < longest then redis.call('PEXPIRE', KEYS[6], longest + day) end
    if redis.call('PTTL', KEYS[7]) < longest then redis.call('PEXPIRE', KEYS[7], longest + day) end
  end
end
if redis.call('PTTL', KEYS[1]) < longest then redis.call('PEXPIRE', KEYS[1], longest + day) end
if redis.call('PTTL', KEYS[2]) < longest then redis.call('PEXPIRE', KEYS[2], longest + day) end
if redis.call('PTTL', KEYS[3]) < longest then redis.call('PEXPIRE', KEYS[3], longest + day) end
if redis.call('PTTL', KEYS[4]) < longest then redis.call('PEXPIRE', KEYS[4], longest + day) end
return {1, expired}
