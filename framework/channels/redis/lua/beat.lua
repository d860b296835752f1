-- session, whether it begins, lease, pause between sweeps, how long a worker may be without its
-- link, how long messages of channels wait -> 1, or 0: it was taken for dead, what it held is gone
--
-- A worker lives while somebody listens to the channel named for it: that is its link, and the
-- kernel ends it with the process. The lease is for machines that die without a word.
local session, begins = ARGV[7], ARGV[8] == '1'
local lease, pause, missing_max = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
-- Things of dead workers ended in one go: Redis serves nobody else meanwhile.
local room = 2000

local workers, missing = P .. 'workers', P .. 'missing'
if not begins and redis.call('HEXISTS', workers, session) == 0 then return 0 end
redis.call('HSET', workers, session, text(NOW))
redis.call('PEXPIRE', workers, FORGET)
redis.call('PEXPIRE', P .. 'w:' .. session, FORGET)

local expiry = tonumber(ARGV[12])
local due = redis.call('ZRANGEBYSCORE', P .. 'later', '-inf', text(NOW), 'LIMIT', 0, 100)
for _, name in ipairs(due) do come_due(channel_of(name)) end
-- Whose time to come back is over.
local leaving = redis.call('ZRANGEBYSCORE', P .. 'leaving', '-inf', text(NOW), 'LIMIT', 0, 100)
for _, member in ipairs(leaving) do
  redis.call('ZREM', P .. 'leaving', member)
  local name, key = string.match(member, '^(%S+) (.*)$')
  local ends = redis.call('HGET', P .. 'p:' .. name, 'z' .. key)
  if ends and tonumber(ends) <= NOW then
    local group = group_of(name)
    gone(group, key)
    settle(people(group), key)
  end
end
if not redis.call('SET', P .. 'sweep', session, 'NX', 'PX', pause) then return 1 end

-- Ends up to `room` of what a worker held; whether that was all. Its locks stay for the rest of the
-- lease: a link that is gone is no proof that its process is, and that may believe in them.
local function release(dead, rest)
  local held = redis.call('HKEYS', P .. 'w:' .. dead)
  for _, hold in ipairs(held) do
    if room == 0 then return false end
    room = room - 1
    local kind, name = string.sub(hold, 1, 1), string.sub(hold, 2)
    if kind == 'p' then
      local connection, group = string.match(name, '^(%d+):(.+)$')
      remove(group_of(group), dead, connection)
    elseif kind == 'l' then
      local lock = P .. 'l:' .. name
      if redis.call('HGET', lock, 's') == dead then
        local ends = redis.call('PTTL', lock)
        if rest <= 0 then
          redis.call('DEL', lock)
        elseif ends < 0 or ends > rest then
          redis.call('PEXPIRE', lock, rest)
        end
      end
      redis.call('HDEL', P .. 'w:' .. dead, hold)
    else
      local channel = channel_of(name)
      for _, reader in ipairs(redis.call('LRANGE', channel.readers, 0, -1)) do
        if string.sub(reader, 1, #dead + 1) == dead .. ':' then
          redis.call('LREM', channel.readers, 0, reader)
        end
      end
      redis.call('HDEL', P .. 'w:' .. dead, hold)
    end
  end
  return true
end

local all = redis.call('HGETALL', workers)
for i = 1, #all, 2 do
  local worker, age = all[i], NOW - tonumber(all[i + 1])
  local since = redis.call('HGET', missing, worker)
  if redis.call('PUBSUB', 'NUMSUB', D .. 'w:' .. worker)[2] > 0 and age < lease then
    if since then redis.call('HDEL', missing, worker) end
  elseif not since then
    redis.call('HSET', missing, worker, text(NOW))
    redis.call('PEXPIRE', missing, FORGET)
  elseif NOW - tonumber(since) >= missing_max then
    if release(worker, lease - age) then
      redis.call('HDEL', workers, worker)
      redis.call('HDEL', missing, worker)
    else
      redis.call('DEL', P .. 'sweep')
      return 1
    end
  end
end

-- Who asked a question that nobody read in time is told, though nobody looks at the channel.
if redis.call('SET', P .. 'tidy', session, 'NX', 'PX', 5000) then
  local channels = P .. 'channels'
  redis.call('ZREMRANGEBYSCORE', P .. 'groups', '-inf', text(NOW - KEEP))
  redis.call('ZREMRANGEBYSCORE', channels, '-inf', text(NOW - 2 * expiry - COUNTED))
  local since = text(NOW - 2 * expiry - 10000)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', channels, since, '+inf', 'LIMIT', 0, 1000)) do
    expire({ name = name, unread = P .. 'c:' .. name, counts = P .. 's:' .. name })
  end
end
return 1
