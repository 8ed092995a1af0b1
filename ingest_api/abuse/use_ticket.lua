-- Uses a ticket once, over all processes.
--
-- KEYS[1]: the prefix of all keys, in braces, so that a cluster keeps them in one slot.
-- ARGV: the ticket's id, its life in ms, the network that it was issued to if it comes from another one ('' if not),
-- how many tickets of a network may come from others in a window, the window in ms.
-- Returns 'ok', 'used' or 'moved'. Every key expires.

local id, life_ms, network, moved_max, window_ms = unpack(ARGV)
local moved = KEYS[1] .. 'm:' .. network
if network ~= '' and (tonumber(redis.call('GET', moved)) or 0) >= tonumber(moved_max) then
    return 'moved'
end
if not redis.call('SET', KEYS[1] .. 'u:' .. id, '1', 'NX', 'PX', life_ms) then
    return 'used'
end
if network ~= '' and redis.call('INCR', moved) == 1 then
    redis.call('PEXPIRE', moved, window_ms)
end
return 'ok'
