-- Stores a verdict if the one before is still that which its writer read or is gone, and numbers the change.
--
-- KEYS[1]: the prefix of all keys, in braces, so that a cluster keeps them in one slot.
-- ARGV: subject, record, its life in ms, the record before ('' none, '*' any), the most records.
-- Returns the number of the change, or 0: another process has changed it meanwhile.
--
-- `changes` has each subject by the number of its last change: readers ask for those after the last one that they know.

local subject, record, life_ms, before, records_max = unpack(ARGV)
local name = KEYS[1] .. 'v:' .. subject
local changes, last = KEYS[1] .. 'changes', KEYS[1] .. 'last'

local stored = redis.call('GET', name)
if before ~= '*' and stored and stored ~= before then
    return 0
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
local over = redis.call('ZCARD', changes) - tonumber(records_max)
if over > 0 then
    local oldest = redis.call('ZPOPMIN', changes, over)
    for at = 1, #oldest, 2 do
        redis.call('DEL', KEYS[1] .. 'v:' .. oldest[at])
    end
end
for _, key in ipairs({last, changes}) do
    if redis.call('PTTL', key) < tonumber(life_ms) then
        redis.call('PEXPIRE', key, life_ms)
    end
end
return number
