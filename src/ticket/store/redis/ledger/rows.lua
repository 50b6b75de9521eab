-- What the steps of the ledger have in common. They are compiled behind this text.
--
-- A shard of the ledger is these keys, of which a step gets those that it needs as KEYS:
--   rows     hash: nonce -> object (16 bytes), seconds of the grant (8 bytes), row
--   due      sorted set: nonces by the time at which they are due (ms, by the clocks of the callers)
--   expiry   sorted set: nonces by the time at which they are freed (ms)
--   grants   sorted set, by bytes: object, seconds of the grant, nonce
--   claims   hash: nonce -> token of the claim (16 bytes, zeros if it is deferred), attempts
--   settled  hash: object -> the settled objects of this key, one a line, the newest first
--   forget   sorted set: objects by the time until which they are remembered (ms)
--
-- No step depends on the number of rows, but for a logarithm.
local function remove(rows, due, expiry, grants, claims, nonce)
  local row = redis.call('HGET', rows, nonce)
  if not row then return 0 end
  redis.call('HDEL', rows, nonce)
  redis.call('HDEL', claims, nonce)
  redis.call('ZREM', due, nonce)
  redis.call('ZREM', expiry, nonce)
  redis.call('ZREM', grants, string.sub(row, 1, 24) .. nonce)
  return 1
end

-- Returns the number of open rows that were removed.
local function free(rows, due, expiry, grants, claims, settled, forget, now, limit)
  local old = redis.call('ZRANGEBYSCORE', expiry, '-inf', '(' .. now, 'LIMIT', 0, limit)
  local expired = 0
  for _, nonce in ipairs(old) do
    expired = expired + remove(rows, due, expiry, grants, claims, nonce)
  end
  old = redis.call('ZRANGEBYSCORE', forget, '-inf', '(' .. now, 'LIMIT', 0, limit)
  for _, object in ipairs(old) do
    redis.call('HDEL', settled, object)
    redis.call('ZREM', forget, object)
  end
  return expired
end

-- A key outlives everything in it. Renewed once a day, because each renewal is a write.
local function keep(key, longest)
  if redis.call('PTTL', key) < longest then redis.call('PEXPIRE', key, longest + 86400000) end
end
