-- Returns the number of rows of a shard.
--
-- KEYS     rows
return redis.call('HLEN', KEYS[1])
