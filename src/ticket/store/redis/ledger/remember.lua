-- Compiled behind rows.lua. Remembers that an object was settled.
local function remember(object, line, till, longest, room)
  till = tonumber(till)
  local others = redis.call('ZRANGEBYLEX', KEYS[4], '[' .. object, '[' .. object .. string.rep('\255', 25), 'LIMIT', 0, 1)
  if others[1] then till = till + longest end
  local lines, count = line, 1
  for known in string.gmatch(redis.call('HGET', KEYS[6], object) or '', '[^\n]+') do
    if known ~= line and count < 16 then
      lines, count = lines .. '\n' .. known, count + 1
    end
  end
  redis.call('HSET', KEYS[6], object, lines)
  local before = tonumber(redis.call('ZSCORE', KEYS[7], object) or 0)
  redis.call('ZADD', KEYS[7], string.format('%.0f', math.max(before, till)), object)
  -- Of these, unlike of open rows, the oldest can be dropped to make room.
  if redis.call('HLEN', KEYS[6]) > room then
    local oldest = redis.call('ZRANGE', KEYS[7], 0, 0)[1]
    redis.call('ZREM', KEYS[7], oldest)
    redis.call('HDEL', KEYS[6], oldest)
  end
  local life = 2 * longest
  if redis.call('PTTL', KEYS[6]) < life then redis.call('PEXPIRE', KEYS[6], life + day) end
  if redis.call('PTTL', KEYS[7]) < life then redis.call('PEXPIRE', KEYS[7], life + day) end
end
