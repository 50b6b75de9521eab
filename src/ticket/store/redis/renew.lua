-- Extends a lease. Returns 0 if it is lost, or needed no longer.
--
-- KEYS     the ticket, its leases; see begin.lua
-- ARGV     digest, fence, lease (ms)
local state = redis.call('HGET', KEYS[1], 's' .. ARGV[1])
if not state or string.sub(state, 2, 17) ~= ARGV[2] then return 0 end
local kind = string.sub(state, 1, 1)
if kind ~= 'U' and kind ~= 'C' then return 0 end
local time = redis.call('TIME')
local ends = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + tonumber(ARGV[3]))
-- First a command that frees memory: a Redis that is full then accepts the rest of the script.
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('HSET', KEYS[1], 's' .. ARGV[1], kind .. ARGV[2] .. ends)
redis.call('ZADD', KEYS[2], ends, ARGV[1])
-- Without its last member, the set was deleted, and its time to live with it.
local ttl = redis.call('PTTL', KEYS[1])
if ttl > 0 then redis.call('PEXPIRE', KEYS[2], ttl) end
return 1
