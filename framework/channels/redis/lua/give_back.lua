-- name, message, expiry, who waits for an answer (or nothing): it reached nobody and is the next to
-- be read
local channel = channel_of(ARGV[7])
local frame, expiry, asker = ARGV[8], tonumber(ARGV[9]), ARGV[10]
if hand_out(channel, asker, frame) then return 1 end
count(channel, 'd', -1)
-- Not later than those behind it, which would outlive their time.
local behind = redis.call('LINDEX', channel.unread, 0)
local came_at = behind and expires(behind) - expiry or NOW
redis.call('LPUSH', channel.unread, item_of(came_at, expiry, asker, frame))
redis.call('PEXPIRE', channel.unread, 2 * expiry + COUNTED)
return 1
