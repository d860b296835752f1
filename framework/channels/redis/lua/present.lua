-- name -> keys, their `joined` and their connections in turn
local all = redis.call('HGETALL', P .. 'p:' .. ARGV[7])
local present, counts, room = {}, {}, 8388608
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 1) == 'n' then counts[string.sub(all[i], 2)] = all[i + 1] end
end
for i = 1, #all, 2 do
  if string.sub(all[i], 1, 1) == 'j' then
    local key = string.sub(all[i], 2)
    room = room - #key - #all[i + 1]
    if room < 0 then break end
    present[#present + 1] = key
    present[#present + 1] = all[i + 1]
    present[#present + 1] = tonumber(counts[key])
  end
end
return present
