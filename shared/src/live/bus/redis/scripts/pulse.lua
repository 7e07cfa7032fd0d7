-- Trims the stream, says how far it is, and finds out what Redis refuses.
--
-- KEYS: the stream, the id of its first entry as of the last trimming, and three keys to try commands on.
-- ARGV: the id before which nothing is needed, the age in milliseconds after which nothing is (empty: no limit), and `1`
--   to try all commands that the other scripts use.
-- Answers: the newest id, the seconds and microseconds of Redis' clock (empty: refused), and for each command that is
--   refused its name and the reason, with a space between.
local stream, edge, scratch, value, hash = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
if redis.call('EXISTS', stream) == 0 then
  return redis.error_reply('GONE the stream is not there')
end

local function is_less(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)%-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)%-(%d+)$')
  a_ms, a_seq, b_ms, b_seq = tonumber(a_ms), tonumber(a_seq), tonumber(b_ms), tonumber(b_seq)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

local refused = {}
local function try(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then
    refused[#refused + 1] = command .. ' ' .. answer.err
    return nil
  end
  return answer
end

if ARGV[3] == '1' then
  try('XADD', scratch, 'MAXLEN', '1', '*', 'probe', '1')
  try('XRANGE', scratch, '-', '+', 'COUNT', '1')
  try('XDEL', scratch, '0-1')
  try('PEXPIRE', scratch, '1000')
  try('PERSIST', scratch)
  try('UNLINK', value)
  try('DEL', scratch)
  try('SET', value, '1', 'PX', '1000')
  try('GET', value)
  try('HSET', hash, 'probe', '1')
  try('HGET', hash, 'probe')
  try('HSCAN', hash, '0')
  try('HDEL', hash, 'probe')
end

local time = try('TIME') or { '', '' }

local trimmed, bound = 0, '0-0'
local function trim(id)
  if is_less(bound, id) then
    bound = id
  end
  -- Whole nodes of the stream only, however many: cheap, and exact enough.
  local count = try('XTRIM', stream, 'MINID', '~', id, 'LIMIT', 0)
  trimmed = trimmed + (count or 0)
  return count
end

if trim(ARGV[1]) and ARGV[2] ~= '' and time[1] ~= '' then
  local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  trim(string.format('%.0f-0', math.max(0, ms - tonumber(ARGV[2]))))
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
  -- Nothing from the bound on was trimmed: entries between it and the first one were purged.
  redis.call('SET', edge, is_less(bound, first) and bound or first)
end
return { last, time[1], time[2], refused }
