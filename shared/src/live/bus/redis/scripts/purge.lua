-- Adds the record of a purge, which all processes obey when they read it.
--
-- KEYS: the stream, the newest id that a purge may have deleted, the id before which entries may have been trimmed.
-- ARGV: the channel, the id of its newest message that is removed.
-- Answers: the id of the record.
local function is_less(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)%-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)%-(%d+)$')
  a_ms, a_seq, b_ms, b_seq = tonumber(a_ms), tonumber(a_seq), tonumber(b_ms), tonumber(b_seq)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

local id = redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', 'purge', ARGV[1], 'up_to', ARGV[2])
if not id then
  return redis.error_reply('GONE the stream is not there')
end
-- Before any entry is deleted: afterwards the first entry does not tell what was trimmed.
if redis.call('EXISTS', KEYS[3]) == 0 then
  redis.call('SET', KEYS[3], redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1][1])
end
local before = redis.call('GET', KEYS[2])
if not before or is_less(before, ARGV[2]) then
  redis.call('SET', KEYS[2], ARGV[2])
end
return id
