-- name -> epoch, top, ends of earlier epochs
local group = group_of(ARGV[7])
look_at(group)
return { group.epoch, text(group.top), group.ends }
