-- name, session, connection, key, joined, left, grace: counts a presence that was counted before
local person = { key = ARGV[10], joined = ARGV[11], left = ARGV[12], grace = ARGV[13] }
add(group_of(ARGV[7]), ARGV[8], ARGV[9], person)
return 1
