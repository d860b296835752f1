-- who waits -> 1 and the message, or 0; or nothing: there is no answer yet
local told = redis.call('GET', P .. 'a:' .. ARGV[7])
redis.call('DEL', P .. 'a:' .. ARGV[7])
return told
