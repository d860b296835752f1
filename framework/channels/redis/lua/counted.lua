-- session and request of who asks, names: those of one worker who take part
redis.call('PUBLISH', D .. 'w:' .. ARGV[7], 'M ' .. ARGV[8] .. ' ' .. ARGV[9])
return 1
