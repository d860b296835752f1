-- name, message, expiry, who waits for an answer (or nothing), its number: it reached nobody and is
-- read by who waits, or goes where it was
local channel = channel_of(ARGV[7])
local frame, expiry, asker = ARGV[8], tonumber(ARGV[9]), ARGV[10]
local number = string.format('%016.0f', tonumber(ARGV[11]))
local letter = letter_of(number, asker, frame)
if hand_out(channel, letter) then return 1 end
count(channel, 'd', -1)
local place, behind = 0, redis.call('LINDEX', channel.unread, 0)
while behind and number_of(behind) < number do
  place = place + 1
  behind = redis.call('LINDEX', channel.unread, place)
end
if behind then
  -- Not later than those behind it, which would outlive their time.
  local item = item_of(expires(behind) - expiry, expiry, letter)
  redis.call('LINSERT', channel.unread, 'BEFORE', behind, item)
else
  redis.call('RPUSH', channel.unread, item_of(NOW, expiry, letter))
end
redis.call('PEXPIRE', channel.unread, 2 * expiry + COUNTED)
return 1
