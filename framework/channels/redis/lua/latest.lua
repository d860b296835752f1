-- a number that some worker has seen: versions and tokens go on above it
local last = tonumber(redis.call('GET', P .. 'number') or '0')
if tonumber(ARGV[7]) > last then redis.call('SET', P .. 'number', ARGV[7]) end
return 1
