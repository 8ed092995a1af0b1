-- Stores what was loaded, unless the key was deleted while it was being loaded.
-- KEYS[1]: the entry. ARGV: the value, its life in ms, the mark of a deletion.
-- Returns 1 if stored.
if redis.call('GETRANGE', KEYS[1], 0, #ARGV[3] - 1) == ARGV[3] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
