-- Removes rows that were added for tokens which are not sent.
--
-- KEYS     rows, due, expiry, grants, claims
-- ARGV     nonces
for _, nonce in ipairs(ARGV) do
  remove(KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], nonce)
end
return 1
