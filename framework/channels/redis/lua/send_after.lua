-- name, message, session, request, the first one without an answer, whether it may have come
-- before, delay, delayed messages there may be, bytes of them, how long it waits to be read -> 1,
-- or 0: there are as many as there may be
local channel = brought_up(ARGV[7])
local frame, session, request, delay = ARGV[8], ARGV[9], ARGV[10], tonumber(ARGV[13])
local all = P .. 'delays'
if ARGV[12] == '1' and remembers(session, request) then return 1 end
local held = redis.call('HMGET', all, 'n', 'b')
local bytes = tonumber(held[2] or '0') + #frame
if tonumber(held[1] or '0') >= tonumber(ARGV[14]) or bytes > tonumber(ARGV[15]) then
  count(channel, 'f', 1)
  return 0
end
remember(session, request, ARGV[11])
count(channel, 'm', 1)
redis.call('HINCRBY', all, 'n', 1)
redis.call('HINCRBY', all, 'b', #frame)
-- Those of one moment stay in the order they were sent in.
local number = string.format('%016.0f', redis.call('HINCRBY', all, 's', 1))
local expiry = string.format('%013.0f', tonumber(ARGV[16]))
redis.call('ZADD', channel.later, text(NOW + delay), number .. expiry .. frame)
come_due(channel)
return 1
