-- an id: empties everything but who lives, and tells all workers
local kept = {
  [P .. 'workers'] = true, [P .. 'missing'] = true, [P .. 'number'] = true, [P .. 'letters'] = true,
}
local cursor = '0'
repeat
  local page = redis.call('SCAN', cursor, 'MATCH', P .. '*', 'COUNT', 1000)
  cursor = page[1]
  for _, key in ipairs(page[2]) do
    if not kept[key] then redis.call('DEL', key) end
  end
until cursor == '0'
redis.call('PUBLISH', D .. 'all', 'F ' .. ARGV[7])
return 1
