-- name, message, key, which sends may have come before -> its position
--
-- '0': none with this key. '1': one perhaps, a worker repeats what was not answered: the entries
-- are looked through. '2': its sender named it: names have an index, as long as the history.
local group = group_of(ARGV[7])
local key, kind = ARGV[9], ARGV[10]
local names = P .. 'n:' .. group.name

local function before()
  if kind == '2' then
    local known = redis.call('ZSCORE', names, key)
    return known and tonumber(known) > group.top - MESSAGES and known
  end
  local last = '+'
  while kind == '1' do
    local entries = redis.call('XREVRANGE', group.stream, last, '-', 'COUNT', 256)
    for _, entry in ipairs(entries) do
      if entry[2][8] == key then return string.match(entry[1], '%-(%d+)$') end
    end
    if #entries < 256 then return false end
    -- The last one is looked at twice: Redis 6.0 knows no exclusive range.
    last = entries[256][1]
  end
  return false
end

local offset = before()
if offset then return group.epoch .. '-' .. offset end
local position = append(group, 'm', ARGV[8], key)
if kind == '2' then
  redis.call('ZADD', names, text(group.top), key)
  redis.call('ZREMRANGEBYSCORE', names, '-inf', text(group.top - MESSAGES))
  redis.call('PEXPIRE', names, AGE)
end
return position
