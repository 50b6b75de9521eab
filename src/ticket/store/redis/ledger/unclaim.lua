-- Takes back the claims of a call that failed after Redis had executed it: nobody has these rows.
-- They are due again, and the attempt does not count. Returns the number of rows.
--
-- KEYS     see rows.lua
-- ARGV     until when the claims last (ms), token of the claims (16 bytes), due (ms)
local held = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[1], ARGV[1], 'LIMIT', 0, 1000)
local freed = 0
for _, nonce in ipairs(held) do
  local claim = redis.call('HGET', KEYS[5], nonce)
  if claim and string.sub(claim, 1, 16) == ARGV[2] then
    local attempts = math.max(0, tonumber(string.sub(claim, 17)) - 1)
    redis.call('ZREM', KEYS[2], nonce)
    redis.call('ZADD', KEYS[2], ARGV[3], nonce)
    redis.call('HSET', KEYS[5], nonce, string.rep('\0', 16) .. string.format('%.0f', attempts))
    freed = freed + 1
  end
end
return freed
