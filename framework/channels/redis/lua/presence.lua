-- Who is in a group: one hash with 'o' and an owner (worker and connection) for its key, and for
-- each key its count ('n'), what is told when it comes ('j') and goes ('l'), how long after its
-- last connection it stays ('e', ms), until when it does ('z') and who waits for that ('y'). What a
-- worker holds is in a hash of its own, so that its end is the end of all of it.

-- Longest time anything outlives the last sign of any worker.
local FORGET = 86400000

local function people(group) return P .. 'p:' .. group.name end

-- Tells those who asked for an end that it is settled.
local function settle(hash, key)
  local waiting = redis.call('HGET', hash, 'y' .. key) or ''
  for session, request in string.gmatch(waiting, '(%x+):(%d+)') do
    redis.call('PUBLISH', D .. 'w:' .. session, 'D ' .. request .. ' ')
  end
  redis.call('HDEL', hash, 'z' .. key, 'y' .. key)
end

local function gone(group, key)
  local hash = people(group)
  local left = redis.call('HGET', hash, 'l' .. key)
  redis.call('HDEL', hash, 'n' .. key, 'j' .. key, 'l' .. key, 'e' .. key)
  append(group, 'p', left, '')
end

-- Ends a presence; the last of its key tells the group, or waits first. Then it is this key.
local function remove(group, session, connection)
  local hash = people(group)
  local owner = 'o' .. session .. ':' .. connection
  redis.call('HDEL', P .. 'w:' .. session, 'p' .. connection .. ':' .. group.name)
  local key = redis.call('HGET', hash, owner)
  if not key then return nil end
  redis.call('HDEL', hash, owner)
  if redis.call('HINCRBY', hash, 'n' .. key, -1) > 0 then return nil end
  local grace = tonumber(redis.call('HGET', hash, 'e' .. key))
  if grace == 0 then
    gone(group, key)
    return nil
  end
  redis.call('HSET', hash, 'z' .. key, text(NOW + grace))
  redis.call('ZADD', P .. 'leaving', text(NOW + grace), group.name .. ' ' .. key)
  return key
end

-- Counts a presence; whether it is the first of its key.
local function add(group, session, connection, person)
  local hash = people(group)
  local owner = 'o' .. session .. ':' .. connection
  local held = redis.call('HGET', hash, owner)
  if held and held ~= person.key then
    remove(group, session, connection)
    held = false
  end
  redis.call('HSET', P .. 'w:' .. session, 'p' .. connection .. ':' .. group.name, 1)
  redis.call('PEXPIRE', P .. 'w:' .. session, FORGET)
  if held then return false end
  local first = redis.call('HEXISTS', hash, 'n' .. person.key) == 0
  -- Of several connections, the one that needs the most time to come back.
  local known = redis.call('HGET', hash, 'e' .. person.key) or 0
  local grace = text(math.max(tonumber(known), tonumber(person.grace)))
  redis.call('HSET', hash, owner, person.key, 'j' .. person.key, person.joined,
    'l' .. person.key, person.left, 'e' .. person.key, grace)
  redis.call('HINCRBY', hash, 'n' .. person.key, 1)
  settle(hash, person.key)
  if first then append(group, 'p', person.joined, '') end
  redis.call('PEXPIRE', hash, FORGET)
  return first
end
