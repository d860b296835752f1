-- A named channel: a list of what is unread; a list of who waits to read, in the order they came;
-- what comes later, by its time; and numbers. What is unread begins with when it expires, when it
-- came, its number, which only grows, and who waits for an answer to it (`;` ends that).

-- Sends remembered of a process: as many as it may have under way at once.
local REMEMBERED = 16384
-- How long what was handed to a worker is kept in case its link was cut on the way; sooner it says
-- itself that it has it.
local HANDED = 30000
-- How long an idle channel's numbers are kept.
local COUNTED = 3600000

local function channel_of(name)
  local channel = {
    name = name, unread = P .. 'c:' .. name, readers = P .. 'r:' .. name,
    later = P .. 'y:' .. name, counts = P .. 's:' .. name,
  }
  redis.call('ZADD', P .. 'channels', text(NOW), name)
  return channel
end

local function count(channel, field, by)
  redis.call('HINCRBY', channel.counts, field, by)
  redis.call('PEXPIRE', channel.counts, COUNTED)
end

local function item_of(came, expiry, letter)
  return string.format('%013.0f%013.0f', came + expiry, came) .. letter
end

-- What a reader is given: the number (16 digits), who waits for an answer (or ''), the message.
local function letter_of(number, asker, frame) return number .. asker .. ';' .. frame end

-- A number larger than all before, also those of a Redis that lost its memory.
local function next_number()
  local last = tonumber(redis.call('GET', P .. 'letters') or '0')
  local number = string.format('%016.0f', math.max(last + 1, NOW * 4096))
  redis.call('SET', P .. 'letters', number)
  return number
end

local function expires(item) return tonumber(string.sub(item, 1, 13)) end
local function came(item) return tonumber(string.sub(item, 14, 26)) end
local function number_of(item) return string.sub(item, 27, 42) end

-- Who waits for an answer (or ''), and the message.
local function opened(item)
  local ends = string.find(item, ';', 43, true)
  return string.sub(item, 43, ends - 1), string.sub(item, ends + 1)
end

-- Whether the worker of a session is there to hear.
local function hears(session)
  return redis.call('PUBSUB', 'NUMSUB', D .. 'w:' .. session)[2] > 0
end

-- Answers who waits. One whose link is cut finds the answer when it is back.
local function answer(asker, frame)
  if asker == '' then return end
  local session, request = string.match(asker, '^(%x+):(%d+)$')
  local told = frame and ('1' .. frame) or '0'
  if hears(session) then
    redis.call('PUBLISH', D .. 'w:' .. session, 'A ' .. request .. ' ' .. told)
  else
    redis.call('SET', P .. 'a:' .. asker, told, 'PX', HANDED)
  end
end

-- Drops what nobody read in time.
local function expire(channel)
  while true do
    local first = redis.call('LINDEX', channel.unread, 0)
    if not first or expires(first) > NOW then return end
    redis.call('LPOP', channel.unread)
    count(channel, 'x', 1)
    answer(opened(first), nil)
  end
end

local function stops_reading(channel, session, by)
  local hold = P .. 'w:' .. session
  if redis.call('HINCRBY', hold, 'r' .. channel.name, -by) <= 0 then
    redis.call('HDEL', hold, 'r' .. channel.name)
  end
end

-- Keeps what a reader gets until its worker has had time to say that it did not.
local function hand(session, request, letter)
  redis.call('SET', P .. 'd:' .. session .. ':' .. request, letter, 'PX', HANDED)
end

-- Hands a message to the first who waits and whose worker lives; whether there is one.
local function hand_out(channel, letter)
  while true do
    local reader = redis.call('LPOP', channel.readers)
    if not reader then return false end
    local session, request = string.match(reader, '^(%x+):(%d+)$')
    stops_reading(channel, session, 1)
    if hears(session) then
      hand(session, request, letter)
      redis.call('PUBLISH', D .. 'w:' .. session,
        'R ' .. request .. ' ' .. channel.name .. ' ' .. letter)
      return true
    end
  end
end

-- Gives a message to who waits, or keeps it, also beyond the capacity.
local function put(channel, at, expiry, asker, frame)
  local letter = letter_of(next_number(), asker, frame)
  if hand_out(channel, letter) then
    count(channel, 'd', 1)
    return
  end
  redis.call('RPUSH', channel.unread, item_of(at, expiry, letter))
  -- Longer than any of it: who waits for an answer is told when it expires.
  redis.call('PEXPIRE', channel.unread, 2 * expiry + COUNTED)
end

-- Puts what is due where it belongs. Its time begins when it was, whenever anybody looks.
local function come_due(channel)
  while true do
    local first = redis.call('ZRANGE', channel.later, 0, 0, 'WITHSCORES')
    if not first[1] then
      redis.call('ZREM', P .. 'later', channel.name)
      return
    end
    if tonumber(first[2]) > NOW then
      redis.call('ZADD', P .. 'later', first[2], channel.name)
      return
    end
    local frame = string.sub(first[1], 30)
    redis.call('ZREM', channel.later, first[1])
    redis.call('HINCRBY', P .. 'delays', 'n', -1)
    redis.call('HINCRBY', P .. 'delays', 'b', 0 - #frame)
    put(channel, tonumber(first[2]), tonumber(string.sub(first[1], 17, 29)), '', frame)
  end
end

-- What a channel is before anything is done with it.
local function brought_up(name)
  local channel = channel_of(name)
  if redis.call('EXISTS', channel.later) == 1 then come_due(channel) end
  expire(channel)
  return channel
end

local function remembers(session, request)
  return redis.call('ZSCORE', P .. 'q:' .. session, request)
end

-- Of those before the first that has no answer yet nobody will ask again.
local function remember(session, request, first)
  local keys = P .. 'q:' .. session
  redis.call('ZADD', keys, request, request)
  redis.call('ZREMRANGEBYSCORE', keys, '-inf', '(' .. first)
  redis.call('ZREMRANGEBYRANK', keys, 0, -REMEMBERED - 1)
  redis.call('PEXPIRE', keys, HANDED)
end
