-- name, who asks -> how many workers have been asked for the names of those who take part
return redis.call('PUBLISH', D .. 'g:' .. ARGV[7], 'C ' .. ARGV[8])
