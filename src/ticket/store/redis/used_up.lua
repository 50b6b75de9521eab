-- Returns 1 if a text of the ticket is used up or done, and 0 if all of its texts are held only.
--
-- KEYS     the ticket, its leases; see begin.lua
local texts = tonumber(redis.call('HGET', KEYS[1], 'texts') or 0)
-- A text has a lease as long as it is held and not started.
if texts > redis.call('ZCARD', KEYS[2]) then return 1 end
return 0
