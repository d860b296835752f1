-- name, session, connection, key, joined, left, grace -> position, first, keys and their `joined`
-- in turn, the latest messages, newest first
local group = group_of(ARGV[7])
local person = { key = ARGV[10], joined = ARGV[11], left = ARGV[12], grace = ARGV[13] }

local latest, last = {}, '+'
while #latest < 50 do
  local entries = redis.call('XREVRANGE', group.stream, last, '-', 'COUNT', 100)
  for i, entry in ipairs(entries) do
    -- The first of a later page is the last of the one before.
    local is_kept = not is_old(entry) and not is_over(group, entry)
    if (i > 1 or last == '+') and is_kept and entry[2][1] == 'm' and #latest < 50 then
      latest[#latest + 1] = message_of(entry)
    end
  end
  if #entries < 100 then break end
  last = entries[100][1]
end

-- A link with 32 MiB of replies that wait to be read is cut.
local roster, room = {}, 2097152
local all = redis.call('HGETALL', people(group))
for i = 1, #all, 2 do
  local key = string.sub(all[i], 2)
  if string.sub(all[i], 1, 1) == 'j' and key ~= person.key then
    room = room - #key - #all[i + 1]
    if room < 0 then break end
    roster[#roster + 1] = key
    roster[#roster + 1] = all[i + 1]
  end
end

local first = add(group, ARGV[8], ARGV[9], person)
return { group.epoch .. '-' .. text(group.top), first and 1 or 0, roster, latest }
