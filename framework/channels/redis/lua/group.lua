-- What every script is given first: what keys and channels begin with, this run of Redis, and how
-- much a group keeps.
local P, D, RUN = ARGV[1], ARGV[2], ARGV[3]
local MESSAGES, BYTES, AGE = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
-- A group that nobody sends to or looks at is forgotten after this. Workers look every 40 s.
local KEEP = AGE + 300000
-- What an entry costs beside its bytes.
local ENTRY = 96
-- Earlier epochs a position is still known by.
local ENDS = 8

local time = redis.call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

-- A whole number; Lua writes large ones with an exponent.
local function text(number)
  return string.format('%.0f', number)
end

-- The last of the ends of epochs, and one more.
local function ended(ends, last)
  local all = {}
  for each in string.gmatch(ends, '%S+') do all[#all + 1] = each end
  all[#all + 1] = last
  return table.concat(all, ' ', math.max(1, #all - ENDS + 1))
end

-- A group: its epoch (text), its top and what it has ever had in bytes (numbers). One that Redis
-- knew before it was started again goes on in an epoch of its own: its end may be lost.
local function group_of(name)
  local key = P .. 'g:' .. name
  local held = redis.call('HMGET', key, 'e', 't', 'r', 'l', 'b')
  local group = {
    name = name, key = key, stream = P .. 'h:' .. name,
    epoch = held[1], top = tonumber(held[2] or '0'), ends = held[4] or '',
    bytes = tonumber(held[5] or '0'),
  }
  if held[3] == RUN then return group end
  local epoch = NOW * 4096 + time[2] % 1000 * 4
  if group.epoch then
    group.ends = ended(group.ends, group.epoch .. '-' .. text(group.top))
    epoch = math.max(epoch, tonumber(group.epoch) + 1)
  else
    redis.call('DEL', group.stream, P .. 'n:' .. name)
  end
  group.epoch = text(epoch)
  redis.call('HSET', key, 'e', group.epoch, 't', text(group.top), 'r', RUN, 'l', group.ends,
    'b', text(group.bytes))
  redis.call('PEXPIRE', key, KEEP)
  return group
end

-- Somebody still wants the group.
local function look_at(group)
  redis.call('PEXPIRE', group.key, KEEP)
  redis.call('ZADD', P .. 'groups', text(NOW), group.name)
end

-- Entries are fields and values in turn: 'm' or 'p' and the message, 's' since when, 'c' the bytes
-- up to its end, 'k' the sender's key.
local function message_of(entry) return entry[2][2] end
local function offset_of(entry) return tonumber(string.match(entry[1], '%d+$')) end
local function is_old(entry) return NOW - tonumber(entry[2][4]) > AGE end
-- Whether more is kept than should be: streams are cut a block at a time.
local function is_over(group, entry) return offset_of(entry) <= group.top - MESSAGES end
local function bytes_from(group, entry)
  return group.bytes - tonumber(entry[2][6]) + #entry[2][2] + ENTRY
end

-- Drops what is over the limits, a little more than comes in.
local function trim(group)
  for _ = 1, 64 do
    local entry = redis.call('XRANGE', group.stream, '-', '+', 'COUNT', 1)[1]
    if not entry or redis.call('XLEN', group.stream) <= 1 then return end
    if not is_old(entry) and bytes_from(group, entry) <= BYTES then return end
    redis.call('XDEL', group.stream, entry[1])
  end
end

-- Gives a message the next place and tells all workers; its position as text.
local function append(group, kind, message, key)
  group.top = group.top + 1
  group.bytes = group.bytes + #message + ENTRY
  local position = group.epoch .. '-' .. text(group.top)
  redis.call('XADD', group.stream, 'MAXLEN', '~', MESSAGES, position,
    kind, message, 's', text(NOW), 'c', text(group.bytes), 'k', key)
  redis.call('HSET', group.key, 't', text(group.top), 'b', text(group.bytes))
  look_at(group)
  redis.call('INCR', P .. 'messages')
  redis.call('PEXPIRE', group.stream, AGE)
  if group.top % 32 == 0 or #message * 32 > BYTES then trim(group) end
  redis.call('PUBLISH', D .. 'g:' .. group.name, position .. ' ' .. message)
  return position
end

-- Whether a position is a place on the way to the top.
local function knows(group, epoch, offset)
  if epoch == group.epoch then return offset <= group.top end
  for e, t in string.gmatch(group.ends, '(%d+)-(%d+)') do
    if e == epoch then return offset <= tonumber(t) end
  end
  return false
end

-- Whether an entry is the one behind an offset, and within what a group keeps.
local function is_kept(group, entry, offset)
  local missing = group.top - offset
  if offset_of(entry) ~= offset + 1 then return false end
  if missing > MESSAGES or is_old(entry) then return false end
  return missing == 1 or bytes_from(group, entry) <= BYTES
end
