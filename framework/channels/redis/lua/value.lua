-- name, session, request, whether it may have come before, action, the largest number the worker
-- has seen, and what the action takes -> what came of it in words; of a value that is there its
-- version, the milliseconds left (or -1) and itself
local name, session, key, action = ARGV[7], ARGV[8], ARGV[8] .. ':' .. ARGV[9], ARGV[11]
local value, counter, lock = P .. 'v:' .. name, P .. 'i:' .. name, P .. 'l:' .. name
-- How long an outcome is remembered for who asks again; sooner the worker says that it has it.
local REMEMBERED = 30000
local DAY = 86400000

-- A number larger than all before, also those of a Redis that lost its memory.
local function number()
  local last = tonumber(redis.call('GET', P .. 'number') or '0')
  local new = text(math.max(last + 1, tonumber(ARGV[12]) + 1, NOW * 4096))
  redis.call('SET', P .. 'number', new)
  return new
end

-- '' is for ever.
local function ends(what, lasts)
  if lasts == '' then redis.call('PERSIST', what) else redis.call('PEXPIRE', what, lasts) end
end

-- The lock's time was over: what is noted of this process' holding it goes, if it is not again.
local function lost()
  if redis.call('HGET', lock, 's') ~= session then
    redis.call('HDEL', P .. 'w:' .. session, 'l' .. name)
  end
  return 'no'
end

-- Until its time is over it is this session's: a worker that was taken for dead has another one.
local function hold(lasts)
  redis.call('HSET', lock, 's', session)
  redis.call('PEXPIRE', lock, lasts)
  redis.call('HSET', P .. 'w:' .. session, 'l' .. name, 1)
  redis.call('PEXPIRE', P .. 'w:' .. session, DAY)
end

local function unlock(token)
  if redis.call('HGET', lock, 't') ~= token then return lost() end
  redis.call('HDEL', P .. 'w:' .. redis.call('HGET', lock, 's'), 'l' .. name)
  redis.call('DEL', lock)
  return 'done 0'
end

local actions = {}

-- The value, its end, and 'always', 'absent' or the version it has.
function actions.set(bytes, lasts, when)
  local version = redis.call('HGET', value, 'v')
  if when == 'absent' and version then return 'no' end
  if when ~= 'absent' and when ~= 'always' and when ~= version then return 'no' end
  local new = number()
  redis.call('HSET', value, 'b', bytes, 'v', new)
  ends(value, lasts)
  return 'done ' .. new
end

function actions.remove()
  return redis.call('DEL', value) == 1 and 'done 0' or 'no'
end

function actions.touch(lasts)
  if redis.call('EXISTS', value) == 0 then return 'no' end
  ends(value, lasts)
  return 'done 0'
end

function actions.count(by, window)
  if redis.call('EXISTS', counter) == 0 then
    if by ~= '0' and window ~= '0' then redis.call('SET', counter, by, 'PX', window) end
    return 'counted ' .. by .. ' ' .. window
  end
  local counted = redis.pcall('INCRBY', counter, by)
  if type(counted) == 'table' then
    local most = string.sub(by, 1, 1) == '-' and '-9223372036854775808' or '9223372036854775807'
    redis.call('SET', counter, most, 'KEEPTTL')
  end
  return 'counted ' .. redis.call('GET', counter) .. ' ' .. text(redis.call('PTTL', counter))
end

function actions.lock(lasts)
  if redis.call('EXISTS', lock) == 1 then return 'no' end
  local token = number()
  redis.call('HSET', lock, 't', token)
  hold(lasts)
  return 'locked ' .. token
end

function actions.extend(token, lasts)
  if redis.call('HGET', lock, 't') ~= token then return lost() end
  hold(lasts)
  return 'done 0'
end

actions.unlock = unlock

-- Nobody waits any more for the lock that was asked for under this key.
function actions.abandon(asked)
  local token = string.match(redis.call('GET', P .. 'o:' .. asked) or '', '^locked (%d+)$')
  return token and unlock(token) or 'no'
end

if action == 'get' then
  local held = redis.call('HMGET', value, 'v', 'b')
  return held[1] and { held[1], redis.call('PTTL', value), held[2] } or 'no'
end
local outcome = ARGV[10] == '1' and redis.call('GET', P .. 'o:' .. key)
-- A lock that is free again meanwhile may be another's by now: it is asked for anew.
local token = outcome and string.match(outcome, '^locked (%d+)$')
if not outcome or token and redis.call('HGET', lock, 't') ~= token then
  outcome = actions[action](unpack(ARGV, 13))
  -- What says the same when it is done twice needs no memory.
  local is_same = action == 'touch' or action == 'extend' or action == 'count' and ARGV[13] == '0'
  if not is_same then redis.call('SET', P .. 'o:' .. key, outcome, 'PX', REMEMBERED) end
end
return outcome
