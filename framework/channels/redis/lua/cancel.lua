-- name, session, request: nobody waits any more
local channel = channel_of(ARGV[7])
if redis.call('LREM', channel.readers, 0, ARGV[8] .. ':' .. ARGV[9]) > 0 then
  stops_reading(channel, ARGV[8], 1)
end
return 1
