-- Removes rows that were added for tokens which are not sent.
--
-- KEYS     see rows.lua
-- ARGV     nonces
for _, nonce in ipairs(ARGV) do
  remove(nonce)
end
return 1
