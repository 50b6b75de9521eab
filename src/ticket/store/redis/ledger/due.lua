-- Claims rows that are due. Returns the number of open rows that expired, and nonce, attempts and
-- row of each claimed row.
--
-- KEYS     see rows.lua
-- ARGV     now (ms), limit, until when the claims last (ms), token of the claims (16 bytes),
--          longest life of a row (ms)
local expired = free(ARGV[1], 100)
local limit, found = tonumber(ARGV[2]), {}
-- The same call, repeated because its response was lost: these rows are claimed already.
local same = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[3], ARGV[3], 'LIMIT', 0, 1000)
for _, nonce in ipairs(same) do
  local claim = redis.call('HGET', KEYS[5], nonce)
  local row = claim and redis.call('HGET', KEYS[1], nonce)
  if row and string.sub(claim, 1, 16) == ARGV[4] and #found < limit then
    found[#found + 1] = {nonce, tonumber(string.sub(claim, 17)), string.sub(row, 25)}
  end
end
local new = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[1], 'LIMIT', 0, limit - #found)
for _, nonce in ipairs(new) do
  local row = redis.call('HGET', KEYS[1], nonce)
  -- First a command that frees memory: a Redis that is full then accepts the rest of the script.
  redis.call('ZREM', KEYS[2], nonce)
  if row then
    local claim = redis.call('HGET', KEYS[5], nonce)
    local attempts = 1 + (claim and tonumber(string.sub(claim, 17)) or 0)
    redis.call('ZADD', KEYS[2], ARGV[3], nonce)
    redis.call('HSET', KEYS[5], nonce, ARGV[4] .. string.format('%.0f', attempts))
    found[#found + 1] = {nonce, attempts, string.sub(row, 25)}
  end
end
local longest = tonumber(ARGV[5])
if found[1] and redis.call('PTTL', KEYS[5]) < longest then
  redis.call('PEXPIRE', KEYS[5], longest + day)
end
return {expired, found}
