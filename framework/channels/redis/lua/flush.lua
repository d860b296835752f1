-- name: drops what waits in a channel, and what is to come
local channel = channel_of(ARGV[7])
for _, item in ipairs(redis.call('LRANGE', channel.unread, 0, -1)) do answer(opened(item), nil) end
local later = redis.call('ZRANGE', channel.later, 0, -1)
local bytes = 0
for _, item in ipairs(later) do bytes = bytes + #item - 29 end
redis.call('HINCRBY', P .. 'delays', 'n', 0 - #later)
redis.call('HINCRBY', P .. 'delays', 'b', 0 - bytes)
redis.call('DEL', channel.unread, channel.later)
redis.call('ZREM', P .. 'later', channel.name)
return 1
