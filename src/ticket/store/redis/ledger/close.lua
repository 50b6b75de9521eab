-- Removes a claimed row. Returns 0 if another caller has claimed it.
--
-- KEYS     see rows.lua
-- ARGV     nonce, token of the claim
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then return 1 end
local claim = redis.call('HGET', KEYS[5], ARGV[1])
if not claim or string.sub(claim, 1, 16) ~= ARGV[2] then return 0 end
return remove(ARGV[1])
