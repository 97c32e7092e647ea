"""What the gate does inside Redis. Each script is one atomic step, and all times are Redis's own.

| key | type | holds |
|---|---|---|
| breaker:{provider}, breaker:{provider}:{model} | hash | state, failures, open_until, probe_until, reason, error |
| rate:{provider} | hash | `full`: when the burst's bucket is empty again; `tokens` of the minute; `turn` served last |
| rate:{provider}:minute | zset | what was let through in the last minute, `{id}:{tokens}` by its time |
| rate:{provider}:queue | zset | who waits, by place; a run's places follow each other, runs take turns |
| rate:{provider}:told | zset | who waits, by the time after which it counts as gone |
| rate:{provider}:runs | hash | the last place of each run |
"""

from __future__ import annotations

_NOW = "local t = redis.call('TIME') local now = t[1] + t[2] / 1000000 "

# KEYS: breakers of provider and model. ARGV: seconds a probe may take.
# Leaves in `waits` and `reason` why it is closed to us, in `trying` the breakers this request would probe.
_LOOK = """
local waits, reason, trying = 0, '', {}
for i = 1, 2 do
  local h = redis.call('HMGET', KEYS[i], 'state', 'open_until', 'probe_until', 'reason')
  if h[1] == 'open' or h[1] == 'half_open' then
    local left = math.max((tonumber(h[2]) or 0) - now, (tonumber(h[3]) or 0) - now)
    if left > 0 then
      if left > waits then waits, reason = left, h[4] or '' end
    else
      trying[#trying + 1] = KEYS[i]
    end
  end
end
"""

_LET_THROUGH = """
for _, key in ipairs(trying) do
  redis.call('HSET', key, 'state', 'half_open', 'probe_until', tostring(now + tonumber(ARGV[1])))
end
local failures = tonumber(redis.call('HGET', KEYS[2], 'failures') or '0')
return {1, #trying > 0 and 1 or 0, failures, '0', ''}
"""

# Answers {allowed, probe, failures, retry_in_s, reason}; numbers as text, or Redis would cut them to whole ones.
ADMIT = _NOW + _LOOK + "if waits > 0 then return {0, 0, 0, tostring(waits), reason} end" + _LET_THROUGH

# KEYS: breakers as above; rate, minute, queue, told, runs.
# ARGV: probe_s; requests a minute (0: none), burst, tokens a minute (0: none), seconds of a minute, seconds for which
# what was let through counts; who asks, its run, its tokens, the entry's name; longest wait, seconds of grace.
ENTER = (
    _NOW
    + _LOOK
    + """
local rate, minute, queue, told, runs = KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local rpm, burst, tpm = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local minute_s, window_s = tonumber(ARGV[5]), tonumber(ARGV[6])
local who, run, entry, longest_s, grace_s = ARGV[7], ARGV[8], ARGV[10], tonumber(ARGV[11]), tonumber(ARGV[12])
if waits > 0 then
  redis.call('ZREM', queue, who) redis.call('ZREM', told, who)
  return {0, 0, 0, tostring(waits), reason}
end
local h = redis.call('HMGET', rate, 'full', 'tokens', 'turn')
local full, used, turn = math.max(tonumber(h[1]) or 0, now), tonumber(h[2]) or 0, tonumber(h[3]) or 0
local needs = tpm > 0 and math.min(tonumber(ARGV[9]), tpm) or 0

-- What is older than a minute does not count any more, and who did not come back has left the queue.
local function tokens_of(member) return tonumber(string.match(member, ':(%d+)$')) or 0 end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', minute, '-inf', now - window_s)) do
  used = used - tokens_of(member)
end
redis.call('ZREMRANGEBYSCORE', minute, '-inf', now - window_s)
local gone = redis.call('ZRANGEBYSCORE', told, '-inf', now, 'LIMIT', 0, 1000)
if #gone > 0 then redis.call('ZREM', queue, unpack(gone)) redis.call('ZREM', told, unpack(gone)) end

-- The place in the queue: a run's places follow each other, and each run's first comes after the one served last.
local place = tonumber(redis.call('ZSCORE', queue, who) or nil)
local ahead = 0
if place then
  ahead = redis.call('ZRANK', queue, who)
elseif redis.call('ZCARD', queue) > 0 then
  place = math.max(turn, tonumber(redis.call('HGET', runs, run) or '0')) + 1
  ahead = redis.call('ZCOUNT', queue, '-inf', place)
else
  place = turn + 1
end

-- How many may go now, and when the next one may if none.
local free, opens = 1e9, now
local count = redis.call('ZCARD', minute)
if rpm > 0 then
  local every = minute_s / rpm
  local paced = full - (burst - 1) * every
  if paced > now + 0.0005 then
    free, opens = 0, paced
  else
    free = math.min(burst, math.floor((now - paced) / every + 0.001) + 1)
  end
  if count >= rpm then
    local first = redis.call('ZRANGE', minute, count - rpm, count - rpm, 'WITHSCORES')
    free, opens = 0, math.max(opens, tonumber(first[2]) + window_s)
  else
    free = math.min(free, rpm - count)
  end
end
if tpm > 0 then
  if used + needs > tpm then
    local over, from, freed_at = used + needs - tpm, 0, now
    while over > 0 and from < count do
      local chunk = redis.call('ZRANGE', minute, from, from + 99, 'WITHSCORES')
      for i = 1, #chunk, 2 do
        if over > 0 then over, freed_at = over - tokens_of(chunk[i]), tonumber(chunk[i + 1]) + window_s end
      end
      from = from + 100
    end
    free, opens = 0, math.max(opens, freed_at)
  else
    free = math.min(free, math.floor((tpm - used) / math.max(needs, 1)))
  end
end

if free <= ahead then
  local each = math.max(rpm > 0 and minute_s / rpm or 0, tpm > 0 and needs * minute_s / tpm or 0)
  local wait = opens - now + (free > 0 and ahead - free + 1 or ahead) * each
  -- Who is far behind looks again half way: those ahead may have left meanwhile.
  if wait > longest_s then wait = math.max(longest_s, wait / 2) end
  wait = math.max(wait, 0.001)
  redis.call('ZADD', queue, place, who)
  redis.call('ZADD', told, now + wait + grace_s, who)
  redis.call('HSET', runs, run, place)
  for _, key in ipairs({queue, told, runs}) do redis.call('EXPIRE', key, math.ceil(wait + grace_s) + 3600) end
  redis.call('HSET', rate, 'turn', turn, 'tokens', used)
  redis.call('EXPIRE', rate, 7200)
  return {0, 0, 0, tostring(wait), 'rate'}
end
redis.call('ZREM', queue, who)
redis.call('ZREM', told, who)
if redis.call('ZCARD', queue) == 0 then redis.call('DEL', runs) end
local every = rpm > 0 and minute_s / rpm or 0
redis.call('ZADD', minute, now, entry .. ':' .. needs)
redis.call('EXPIRE', minute, math.ceil(window_s) + 60)
redis.call('HSET', rate, 'full', tostring(full + every), 'tokens', used + needs, 'turn', math.max(turn, place))
redis.call('EXPIRE', rate, 7200)
"""
    + _LET_THROUGH
)

# KEYS: rate, minute. ARGV: the entry's name, tokens it was let through with, tokens it used.
SETTLE = """
local at = redis.call('ZSCORE', KEYS[2], ARGV[1] .. ':' .. ARGV[2])
if not at then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1] .. ':' .. ARGV[2])
redis.call('ZADD', KEYS[2], at, ARGV[1] .. ':' .. ARGV[3])
redis.call('HINCRBYFLOAT', KEYS[1], 'tokens', tonumber(ARGV[3]) - tonumber(ARGV[2]))
return 1
"""

# KEYS: rate, minute. ARGV: the entry's name, tokens it was let through with, what it took of the burst's bucket.
LEAVE = """
if redis.call('ZREM', KEYS[2], ARGV[1] .. ':' .. ARGV[2]) == 0 then return 0 end
redis.call('HINCRBYFLOAT', KEYS[1], 'tokens', -tonumber(ARGV[2]))
local full = tonumber(redis.call('HGET', KEYS[1], 'full') or '0')
redis.call('HSET', KEYS[1], 'full', tostring(full - tonumber(ARGV[3])))
return 1
"""

# KEYS: minute. ARGV: the entry's name, its tokens.
DELAY = _NOW + "return redis.call('ZADD', KEYS[1], 'XX', 'CH', now, ARGV[1] .. ':' .. ARGV[2])"

# KEYS: breakers of provider and model.
SUCCEED = "return redis.call('DEL', KEYS[1], KEYS[2])"

# KEYS: the breaker to count against. ARGV: threshold, open_s, at once, reason, error, the count's ttl, kept_s.
# Answers 1 when it is open.
FAIL = (
    _NOW
    + """
local state = redis.call('HGET', KEYS[1], 'state')
local failures = redis.call('HINCRBY', KEYS[1], 'failures', 1)
redis.call('HSET', KEYS[1], 'error', ARGV[5], 'failed_at', tostring(now))
if ARGV[3] == '1' or state == 'half_open' or failures >= tonumber(ARGV[1]) then
  if state ~= 'open' or ARGV[3] == '1' then
    redis.call('HSET', KEYS[1], 'state', 'open', 'reason', ARGV[4], 'open_until', tostring(now + tonumber(ARGV[2])))
    redis.call('HDEL', KEYS[1], 'probe_until')
    redis.call('EXPIRE', KEYS[1], ARGV[7])
  end
  return 1
end
redis.call('HSET', KEYS[1], 'state', 'closed')
redis.call('EXPIRE', KEYS[1], ARGV[6])
return 0
"""
)

# KEYS: breakers of provider and model.
WITHDRAW = """
for _, key in ipairs(KEYS) do
  if redis.call('HGET', key, 'state') == 'half_open' then redis.call('HDEL', key, 'probe_until') end
end
return 1
"""
