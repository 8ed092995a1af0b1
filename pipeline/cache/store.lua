-- Stores what was loaded, unless the entry has changed since it was read before the load.
-- KEYS[1]: the entry; it begins with the id of its last write.
-- ARGV: the new entry, its life in ms, the id that was read; empty if there was no entry.
-- Returns 1 if stored.
local now = redis.call('GETRANGE', KEYS[1], 0, 7)
if now ~= ARGV[3] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
