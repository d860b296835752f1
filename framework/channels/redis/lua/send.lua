-- name, message, session, request, the first one without an answer, whether it may have come
-- before, capacity, expiry, who waits for an answer (or nothing) -> 1, or 0: it is full
local channel = brought_up(ARGV[7])
local frame, session, request = ARGV[8], ARGV[9], ARGV[10]
local capacity, expiry = tonumber(ARGV[13]), tonumber(ARGV[14])
if ARGV[12] == '1' and remembers(session, request) then return 1 end
if redis.call('LLEN', channel.unread) >= capacity and redis.call('LLEN', channel.readers) == 0 then
  count(channel, 'f', 1)
  return 0
end
remember(session, request, ARGV[11])
count(channel, 'm', 1)
put(channel, NOW, expiry, ARGV[15], frame)
return 1
