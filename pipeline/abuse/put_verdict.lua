-- Stores a verdict if the one before is still that which its writer read or is gone, and numbers the change.
--
-- KEYS[1]: the prefix of all keys, in braces, so that a cluster keeps them in one slot.
-- ARGV: subject, record, its life in ms, the record before ('' none, '*' any), the most records, '1' if an operator
-- decided it.
-- Returns the number of the change; 0: another process has changed it meanwhile; -1: operators have the most records.
--
-- `changes` has each subject by the number of its last change: readers ask for those after the last one that they know.
-- `automatic` has those that no operator decided: beyond the most records the oldest of them are deleted.

local SWEPT = 10 -- subjects whose record has expired, removed with each change
local subject, record, life_ms, before, records_max, by_operator = unpack(ARGV)
local name = KEYS[1] .. 'v:' .. subject
local changes, last, automatic = KEYS[1] .. 'changes', KEYS[1] .. 'last', KEYS[1] .. 'automatic'

local stored = redis.call('GET', name)
if before ~= '*' and stored and stored ~= before then
    return 0
end
for _, one in ipairs(redis.call('ZRANGE', changes, 0, SWEPT - 1)) do
    if redis.call('EXISTS', KEYS[1] .. 'v:' .. one) == 0 then
        redis.call('ZREM', changes, one)
        redis.call('ZREM', automatic, one)
    end
end
if by_operator == '1' then
    local decided = redis.call('ZCARD', changes) - redis.call('ZCARD', automatic)
    local has_place = redis.call('ZSCORE', changes, subject) and not redis.call('ZSCORE', automatic, subject)
    if decided >= tonumber(records_max) and not has_place then
        return -1
    end
end
local number = redis.call('INCR', last)
if number == 1 then
    -- Numbers begin with the time, so that those of a server that was restarted empty follow the ones before.
    local time = redis.call('TIME')
    number = time[1] * 1000 + math.floor(time[2] / 1000)
    redis.call('SET', last, string.format('%d', number))
end
redis.call('SET', name, record, 'PX', life_ms)
redis.call('ZADD', changes, number, subject)
if by_operator == '1' then
    redis.call('ZREM', automatic, subject)
else
    redis.call('ZADD', automatic, number, subject)
end
local over = redis.call('ZCARD', automatic) - tonumber(records_max)
if over > 0 then
    local oldest = redis.call('ZPOPMIN', automatic, over)
    for at = 1, #oldest, 2 do
        redis.call('DEL', KEYS[1] .. 'v:' .. oldest[at])
        redis.call('ZREM', changes, oldest[at])
    end
end
for _, key in ipairs({last, changes, automatic}) do
    if redis.call('PTTL', key) < tonumber(life_ms) then
        redis.call('PEXPIRE', key, life_ms)
    end
end
return number
