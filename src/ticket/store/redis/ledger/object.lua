-- Returns the nonce of the newest grant of an object up to a time, the number of its grants, and its
-- settled objects.
--
-- KEYS     grants, settled
-- ARGV     object, last second (8 bytes)
local last = string.rep('\255', 25)
local owner = redis.call('ZREVRANGEBYLEX', KEYS[1], '[' .. ARGV[1] .. ARGV[2] .. last, '[' .. ARGV[1], 'LIMIT', 0, 1)[1]
return {
  owner and string.sub(owner, 25) or '',
  redis.call('ZLEXCOUNT', KEYS[1], '[' .. ARGV[1], '[' .. ARGV[1] .. last),
  redis.call('HGET', KEYS[2], ARGV[1]) or '',
}
