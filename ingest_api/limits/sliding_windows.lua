-- Decides a batch of requests against sliding windows, all keys of a request at once. Requests with the same keys come
-- as one group: the first ones are accepted, as many as every key has room for.
--
-- A group of a negative number gives back so many requests that were counted before, as far as so many are counted.
--
-- KEYS[1]: the prefix of all keys, in braces, so that a cluster keeps them in one slot.
-- ARGV[1]: MessagePack of {{{name, limit, window_ms}, ...}, {{requests, rule, key, rule, key, ...}, ...}}; rules count
-- from 1.
-- ARGV[2]: the time in ms; absent but in tests: this server's clock is then that of all processes.
-- Returns MessagePack of {now_ms, {{accepted, refusing rule or 0, retry_after_ms, remaining of each key ...}, ...}}.
--
-- Rules of one name have one window, so that a key has one state; their limits may differ.
-- A window is divided into BUCKETS. A request counts until its whole bucket has left the window, so that never more
-- than the limit are accepted in any window, and at most 1 % less. A refused request does not count.
-- A hash has the newest bucket's number (b), the sum of all buckets (t) and the count of each bucket that is not empty,
-- by its number modulo SLOTS. It expires with its newest bucket.

local BUCKETS = 100
local SLOTS = BUCKETS + 1

local work = cmsgpack.unpack(ARGV[1])
local rules, groups = work[1], work[2]
local now_ms = tonumber(ARGV[2])
if not now_ms then
    local time = redis.call('TIME')
    now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
end

local known = {} -- name of a key -> its state: read once and written once in a batch

local function state_of(rule, key)
    local name = KEYS[1] .. rule[1] .. ':' .. rule[3] .. ':' .. key
    local state = known[name]
    if state then
        return state
    end
    local width_ms = rule[3] / BUCKETS
    local stored = redis.call('HMGET', name, 'b', 't')
    local before, total = tonumber(stored[1]), tonumber(stored[2]) or 0
    local bucket = math.floor(now_ms / width_ms)
    local expired = {} -- slots; nil: all of them
    if not before then
        before = bucket
    elseif before > bucket then
        bucket = before -- another server's clock was ahead
    elseif bucket - before >= SLOTS then
        expired, total = nil, 0
    elseif bucket > before then
        for passed = before + 1, bucket do
            expired[#expired + 1] = passed % SLOTS
        end
        local counts = redis.call('HMGET', name, unpack(expired))
        for _, count in ipairs(counts) do
            total = total - (tonumber(count) or 0)
        end
    end
    state = {name = name, bucket = bucket, width_ms = width_ms, total = total, added = 0, expired = expired,
             window_ms = rule[3]}
    known[name] = state
    return state
end

local function retry_after_ms(state)
    local oldest = state.bucket
    local fields = state.expired and redis.call('HGETALL', state.name) or {}
    for at = 1, #fields, 2 do
        local slot = tonumber(fields[at])
        if slot and (tonumber(fields[at + 1]) or 0) > 0 then
            local bucket = state.bucket - (state.bucket - slot) % SLOTS
            local has_left = false
            for _, left in ipairs(state.expired) do
                has_left = has_left or left == slot
            end
            if not has_left and bucket < oldest then
                oldest = bucket
            end
        end
    end
    return math.max(1, math.ceil((oldest + SLOTS) * state.width_ms - now_ms))
end

local decisions = {}
for at, group in ipairs(groups) do
    local states, limits = {}, {}
    local accepted, refusing = group[1], 0
    for pair = 2, #group, 2 do
        local rule = rules[group[pair]]
        local state = state_of(rule, group[pair + 1])
        states[#states + 1] = state
        limits[#limits + 1] = rule[2]
        local room = math.max(0, rule[2] - state.total)
        if group[1] < 0 then
            accepted = math.max(accepted, -math.max(0, state.total))
        elseif room < accepted then
            accepted, refusing = room, pair
        end
    end
    local decision = {accepted, 0, 0}
    for place, state in ipairs(states) do
        state.total = state.total + accepted
        state.added = state.added + accepted
        decision[#decision + 1] = math.max(0, limits[place] - state.total)
    end
    if refusing > 0 then
        decision[2] = group[refusing]
        decision[3] = retry_after_ms(states[refusing / 2])
    end
    decisions[at] = decision
end

for _, state in pairs(known) do
    if state.added ~= 0 then
        if state.expired == nil then
            redis.call('DEL', state.name)
        elseif #state.expired > 0 then
            redis.call('HDEL', state.name, unpack(state.expired))
        end
        local count = redis.call('HINCRBY', state.name, state.bucket % SLOTS, state.added)
        redis.call('HSET', state.name, 't', state.total, 'b', state.bucket)
        if count == state.added then
            redis.call('PEXPIRE', state.name, math.ceil(state.window_ms + 2 * state.width_ms))
        end
    end
end

return cmsgpack.pack({now_ms, decisions})
