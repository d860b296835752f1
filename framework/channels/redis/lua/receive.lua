-- name, session, request -> its number, who waits for an answer, `;` and the message; or nothing:
-- it waits
local channel = brought_up(ARGV[7])
local session, request = ARGV[8], ARGV[9]
local handed = redis.call('GET', P .. 'd:' .. session .. ':' .. request)
if handed then return handed end
local reader = session .. ':' .. request
if redis.call('LREM', channel.readers, 0, reader) > 0 then stops_reading(channel, session, 1) end
local item = redis.call('LPOP', channel.unread)
if item then
  local letter = string.sub(item, 27)
  count(channel, 'd', 1)
  hand(session, request, letter)
  return letter
end
redis.call('RPUSH', channel.readers, reader)
redis.call('HINCRBY', P .. 'w:' .. session, 'r' .. channel.name, 1)
redis.call('PEXPIRE', P .. 'w:' .. session, 86400000)
redis.call('PEXPIRE', channel.readers, 86400000)
return false
