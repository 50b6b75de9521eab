-- What the steps of the ledger have in common. They are compiled behind this text, and get the keys
-- of a shard as KEYS:
--   1 rows     hash: nonce -> object (16 bytes), seconds of the grant (8 bytes), row
--   2 due      sorted set: nonces by the time at which they are due (ms, by the clocks of the callers)
--   3 expiry   sorted set: nonces by the time at which they are freed (ms)
--   4 grants   sorted set, by bytes: object, seconds of the grant, nonce
--   5 claims   hash: nonce -> token of the claim (16 bytes, zeros if it is deferred), attempts
--   6 settled  hash: object -> the settled objects of this key, one a line, the newest first
--   7 forget   sorted set: objects by the time until which they are remembered (ms)
--
-- A key outlives everything in it. It is renewed once a day, because each renewal is a write.
--
-- No step depends on the number of rows, but for a logarithm.
local day = 86400000

local function remove(nonce)
  local row = redis.call('HGET', KEYS[1], nonce)
  if not row then return 0 end
  redis.call('HDEL', KEYS[1], nonce)
  redis.call('HDEL', KEYS[5], nonce)
  redis.call('ZREM', KEYS[2], nonce)
  redis.call('ZREM', KEYS[3], nonce)
  redis.call('ZREM', KEYS[4], string.sub(row, 1, 24) .. nonce)
  return 1
end

-- Returns the number of open rows that were removed.
local function free(now, limit)
  local old = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', '(' .. now, 'LIMIT', 0, limit)
  local expired = 0
  for _, nonce in ipairs(old) do
    expired = expired + remove(nonce)
  end
  old = redis.call('ZRANGEBYSCORE', KEYS[7], '-inf', '(' .. now, 'LIMIT', 0, limit)
  for _, object in ipairs(old) do
    redis.call('HDEL', KEYS[6], object)
    redis.call('ZREM', KEYS[7], object)
  end
  return expired
end
