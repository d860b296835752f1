-- name, or nothing: all -> channels, pending, delayed, readers, oldest in ms (or -1), messages,
-- delivered, expired, refused
local names = { ARGV[7] }
if ARGV[7] == '' then
  names = redis.call('ZRANGE', P .. 'channels', 0, -1)
end
local total = { 0, 0, 0, 0, -1, 0, 0, 0, 0 }
for _, name in ipairs(names) do
  local seen = redis.call('ZSCORE', P .. 'channels', name)
  local channel = brought_up(name)
  -- A look is no use.
  if seen then
    redis.call('ZADD', P .. 'channels', seen, name)
  else
    redis.call('ZREM', P .. 'channels', name)
  end
  local counts = redis.call('HMGET', channel.counts, 'm', 'd', 'x', 'f')
  local held = { redis.call('EXISTS', channel.counts), redis.call('LLEN', channel.unread),
    redis.call('ZCARD', channel.later), redis.call('LLEN', channel.readers) }
  if held[2] + held[3] + held[4] > 0 then held[1] = 1 end
  for i = 1, 4 do
    total[i] = total[i] + held[i]
    total[i + 5] = total[i + 5] + tonumber(counts[i] or '0')
  end
  local first = redis.call('LINDEX', channel.unread, 0)
  if first then total[5] = math.max(total[5], NOW - came(first)) end
end
if ARGV[7] == '' then total[3] = tonumber(redis.call('HGET', P .. 'delays', 'n') or '0') end
return total
