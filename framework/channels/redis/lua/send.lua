-- name, message, key, whether it may have come before, capacity, expiry, who waits for an answer
-- (or nothing) -> 1, or 0: it is full
local channel = brought_up(ARGV[7])
local frame, key, capacity, expiry = ARGV[8], ARGV[9], tonumber(ARGV[11]), tonumber(ARGV[12])
if ARGV[10] == '1' and remembers(channel, key) then return 1 end
if redis.call('LLEN', channel.unread) >= capacity and redis.call('LLEN', channel.readers) == 0 then
  count(channel, 'f', 1)
  return 0
end
remember(channel, key)
count(channel, 'm', 1)
put(channel, NOW, expiry, ARGV[13], frame)
return 1
