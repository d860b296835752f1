-- name, epoch (or nothing: the latest), offset, limit, whether it is for a worker -> epoch, top,
-- ends, whether nothing is missing before them, positions and messages in turn, whether there are
-- more
--
-- A page: a link whose replies wait to be read is cut by Redis when they are 32 MiB.
local group = group_of(ARGV[7])
local epoch, offset, limit = ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10])
local room = epoch == '' and 16777216 or 1048576
look_at(group)
redis.call('PEXPIRE', P .. 'p:' .. group.name, 86400000)

local messages, more = {}, 0

-- Whether an entry fits; the first does.
local function take(entry)
  if #messages >= 2 * limit then return false end
  room = room - #message_of(entry) - ENTRY
  if room < 0 and #messages > 0 then
    more = 1
    return false
  end
  messages[#messages + 1] = entry[1]
  messages[#messages + 1] = message_of(entry)
  return true
end

local function take_latest()
  local last = '+'
  repeat
    local entries = redis.call('XREVRANGE', group.stream, last, '-', 'COUNT', 200)
    for i, entry in ipairs(entries) do
      -- The first of a later page is the last of the one before.
      if i > 1 or last == '+' then
        if is_old(entry) or is_over(group, entry) or not take(entry) then return end
      end
    end
    last = entries[#entries] and entries[#entries][1]
  until #entries < 200
end

-- Whether all behind the offset are kept; takes what fits.
local function take_behind()
  if offset == group.top then return true end
  local from = epoch .. '-' .. text(offset + 1)
  local first = redis.call('XRANGE', group.stream, from, '+', 'COUNT', 1)[1]
  if not first or not is_kept(group, first, offset) then return false end
  while true do
    local entries = redis.call('XRANGE', group.stream, from, '+', 'COUNT', 200)
    for _, entry in ipairs(entries) do
      if not take(entry) then return true end
    end
    if #entries < 200 then return true end
    local e, o = string.match(entries[200][1], '^(%d+)-(%d+)$')
    from = e .. '-' .. text(tonumber(o) + 1)
  end
end

local whole = false
if epoch == '' then
  take_latest()
elseif knows(group, epoch, offset) then
  whole = take_behind()
end
if ARGV[11] == '1' and not whole then redis.call('HINCRBY', group.key, 'x', 1) end
return { group.epoch, text(group.top), group.ends, whole and 1 or 0, messages, more }
