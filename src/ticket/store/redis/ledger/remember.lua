-- Compiled behind rows.lua. Remembers that an object was settled.
local function remember(grants, settled, forget, object, line, till, longest, room)
  till = tonumber(till)
  local others = redis.call('ZRANGEBYLEX', grants, '[' .. object, '[' .. object .. string.rep('\255', 25), 'LIMIT', 0, 1)
  if others[1] then till = till + longest end
  local lines, count = line, 1
  for known in string.gmatch(redis.call('HGET', settled, object) or '', '[^\n]+') do
    if known ~= line and count < 16 then
      lines, count = lines .. '\n' .. known, count + 1
    end
  end
  redis.call('HSET', settled, object, lines)
  local before = tonumber(redis.call('ZSCORE', forget, object) or 0)
  redis.call('ZADD', forget, string.format('%.0f', math.max(before, till)), object)
  -- Of these, unlike of open rows, the oldest can be dropped to make room.
  if redis.call('HLEN', settled) > room then
    local oldest = redis.call('ZRANGE', forget, 0, 0)[1]
    redis.call('ZREM', forget, oldest)
    redis.call('HDEL', settled, oldest)
  end
  keep(settled, 2 * longest)
  keep(forget, 2 * longest)
end
