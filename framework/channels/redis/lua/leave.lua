-- name, session, connection, request: ends a presence -> 1, or 0: it is told when it has ended
local group = group_of(ARGV[7])
local key = remove(group, ARGV[8], ARGV[9])
if not key then return 1 end
local waiting = redis.call('HGET', people(group), 'y' .. key) or ''
redis.call('HSET', people(group), 'y' .. key, waiting .. ' ' .. ARGV[8] .. ':' .. ARGV[10])
return 0
