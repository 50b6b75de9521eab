-- Remembers that an object was settled by a ticket of another shard.
--
-- KEYS     see rows.lua
-- ARGV     object, line of the settled object, until when it is remembered (ms), longest life of a
--          row (ms), settled objects that the shard may have
remember(ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]))
return 1
