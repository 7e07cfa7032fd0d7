-- Trims the stream and says how far it is.
--
-- KEYS: the stream, the id of its first entry as of the last trimming.
-- ARGV: the id before which nothing is needed, and the age in milliseconds after which nothing is (empty: no limit).
-- Answers the newest id.
local stream, edge = KEYS[1], KEYS[2]
if redis.call('EXISTS', stream) == 0 then
  return redis.error_reply('GONE the stream is not there')
end

local function trim(id)
  -- Whole nodes of the stream only, however many: cheap, and exact enough.
  return redis.call('XTRIM', stream, 'MINID', '~', id, 'LIMIT', 0)
end

local trimmed = trim(ARGV[1])
if ARGV[2] ~= '' then
  local time = redis.call('TIME')
  local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  trimmed = trimmed + trim(string.format('%.0f-0', math.max(0, ms - tonumber(ARGV[2]))))
end

local last, first = '0-0', nil
local info = redis.call('XINFO', 'STREAM', stream)
for n = 1, #info, 2 do
  if info[n] == 'last-generated-id' then
    last = info[n + 1]
  elseif info[n] == 'first-entry' and info[n + 1] then
    first = info[n + 1][1]
  end
end
if trimmed > 0 then
  if not first then
    local ms, seq = string.match(last, '^(%d+)%-(%d+)$')
    first = string.format('%s-%.0f', ms, tonumber(seq) + 1)
  end
  redis.call('SET', edge, first)
end
return last
