-- name, or nothing: all -> groups, workers, present, messages, kept, their bytes, gaps, age of the
-- oldest in ms (or -1)
local names = { ARGV[7] }
if ARGV[7] == '' then names = redis.call('ZRANGE', P .. 'groups', 0, -1) end
local total = { 0, 0, 0, 0, 0, 0, 0, -1 }
for _, name in ipairs(names) do
  local held = redis.call('HMGET', P .. 'g:' .. name, 't', 'b', 'x')
  -- The layer's own groups are nobody's business.
  if held[1] and string.sub(name, 1, 1) ~= '!' then
    local stream = P .. 'h:' .. name
    local kept = math.min(redis.call('XLEN', stream), MESSAGES)
    local first = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', kept)[kept]
    local present = 0
    for _, field in ipairs(redis.call('HKEYS', P .. 'p:' .. name)) do
      if string.sub(field, 1, 1) == 'j' then present = present + 1 end
    end
    total[1] = total[1] + 1
    total[2] = math.max(total[2], redis.call('PUBSUB', 'NUMSUB', D .. 'g:' .. name)[2])
    total[3] = total[3] + present
    total[4] = total[4] + tonumber(held[1])
    total[5] = total[5] + kept
    total[7] = total[7] + tonumber(held[3] or '0')
    if first then
      total[6] = total[6] + bytes_from({ bytes = tonumber(held[2]) }, first)
      total[8] = math.max(total[8], NOW - tonumber(first[2][4]))
    end
  end
end
if ARGV[7] == '' then
  total[2] = redis.call('HLEN', P .. 'workers')
  total[4] = tonumber(redis.call('GET', P .. 'messages') or '0')
end
return total
