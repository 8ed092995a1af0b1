-- Adds what one process saw to the sums of all, and returns the sums and the verdicts that have changed.
--
-- KEYS[1]: the prefix of all keys, in braces, so that a cluster keeps them in one slot.
-- ARGV[1]: MessagePack of {settings, pushes, baselines, since, epoch}:
--   settings {half_life_ms, tally_kept_ms, pressed_per_s, flooded_per_s, phones_window_ms, baseline_half_life_ms,
--             baseline_kept_ms, changes_max, epoch_kept_ms}
--   pushes {{subject, {counts}, rejected, {contacts}}, ...}; baselines {{quiz, same, pairs}, ...}
--   since, epoch: the last change that the reader knows, and the life of this memory in which it was ('' none yet)
-- ARGV[2]: the time in ms; absent but in tests: this server's clock is then that of all processes.
-- Returns MessagePack of {tallies, baselines, changed subjects, last, epoch, lost}, and then the record of each of those.
-- The same arithmetic is in memory_store.py.
-- Every key expires. `put_verdict.lua` describes the keys of verdicts.

local work = cmsgpack.unpack(ARGV[1])
local settings, pushes, baselines, since, known_epoch = unpack(work, 1, 5)
local half_life_ms, kept_ms, pressed_per_s, flooded_per_s, window_ms = unpack(settings, 1, 5)
local baseline_half_life_ms, baseline_kept_ms, changes_max, epoch_kept_ms = unpack(settings, 6, 9)
local COUNTS = 8 -- that a process reports; after them the pressed and the flooded seconds

local now_ms = tonumber(ARGV[2])
if not now_ms then
    local time = redis.call('TIME')
    now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function kept(name)
    local content = redis.call('GET', name)
    return content and cmsgpack.unpack(content)
end

local tallies = {}
for at, push in ipairs(pushes) do
    local subject, counts, rejected, contacts = push[1], push[2], push[3], push[4]
    local name = KEYS[1] .. 'sum:' .. subject
    -- {at_ms, second, rejections in this second, sums ...}
    local sum = kept(name) or {now_ms, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
    local sum_ms = math.max(now_ms, sum[1])
    local left = 0.5 ^ ((sum_ms - sum[1]) / half_life_ms)
    sum[1] = sum_ms
    local second = math.floor(sum_ms / 1000)
    if second ~= sum[2] then
        sum[2], sum[3] = second, 0
    end
    local before, after = sum[3], sum[3] + rejected
    sum[3] = after
    for place = 1, COUNTS + 2 do
        sum[3 + place] = sum[3 + place] * left + (counts[place] or 0)
    end
    if before < pressed_per_s and pressed_per_s <= after then
        sum[4 + COUNTS] = sum[4 + COUNTS] + 1
    end
    if before < flooded_per_s and flooded_per_s <= after then
        sum[5 + COUNTS] = sum[5 + COUNTS] + 1
    end
    redis.call('SET', name, cmsgpack.pack(sum), 'PX', kept_ms)
    local phones = 0
    if string.sub(subject, 1, 8) == 'address:' then
        local sketch = KEYS[1] .. 'h:' .. subject
        if #contacts > 0 then
            redis.call('PFADD', sketch, unpack(contacts))
            if redis.call('PTTL', sketch) < 0 then
                redis.call('PEXPIRE', sketch, window_ms)
            end
        end
        phones = redis.call('PFCOUNT', sketch)
    end
    local tally = {}
    for place = 1, COUNTS + 2 do
        tally[place] = sum[3 + place]
    end
    tally[COUNTS + 3] = phones
    tallies[at] = tally
end

local learned = {}
for at, one in ipairs(baselines) do
    local name = KEYS[1] .. 'b:' .. one[1]
    local known = kept(name)
    local measured = known or {now_ms, 0, 0}
    local left = 0.5 ^ (math.max(0, now_ms - measured[1]) / baseline_half_life_ms)
    measured = {math.max(now_ms, measured[1]), measured[2] * left + one[2], measured[3] * left + one[3]}
    if one[3] > 0 then
        redis.call('SET', name, cmsgpack.pack(measured), 'PX', baseline_kept_ms)
    end
    learned[at] = {one[1], measured[2], measured[3]}
end

local last = tonumber(redis.call('GET', KEYS[1] .. 'last')) or 0
-- Each reader compares with what it knows itself: an emptied memory has a new epoch, whoever writes to it first.
local epoch = redis.call('GET', KEYS[1] .. 'epoch')
if epoch then
    redis.call('PEXPIRE', KEYS[1] .. 'epoch', epoch_kept_ms)
else
    epoch = table.concat(redis.call('TIME'), '.')
    redis.call('SET', KEYS[1] .. 'epoch', epoch, 'PX', epoch_kept_ms)
end
local lost = since > last or (known_epoch ~= '' and known_epoch ~= epoch)
if lost then
    since = 0
end
local found = redis.call('ZRANGEBYSCORE', KEYS[1] .. 'changes', '(' .. since, '+inf', 'WITHSCORES', 'LIMIT', 0, changes_max)
local subjects, answer = {}, {''}
for at = 1, #found, 2 do
    local record = redis.call('GET', KEYS[1] .. 'v:' .. found[at])
    subjects[#subjects + 1] = found[at]
    answer[#answer + 1] = record or ''
    if not record then
        redis.call('ZREM', KEYS[1] .. 'changes', found[at])
    end
end
if #subjects == changes_max then
    last = tonumber(found[#found])
end

answer[1] = cmsgpack.pack({tallies, learned, subjects, last, epoch, lost})
return answer
