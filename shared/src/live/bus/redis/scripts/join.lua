-- Says where the stream is to a process that comes to it, and breaks it if the process knows of more than it holds.
--
-- KEYS: the stream, the id of its latest break, the id of its first entry as of the last trimming, the newest id that a purge may have
--   deleted.
-- ARGV: the id of the last entry that the process has read, the newest id that it was given for a publication (`0-0`:
--   none), and `1` if it knows that the entry of the first is not the one it has read.
-- Answers: the newest id, the id of the first entry (empty: there is none), the fields of the entry at the first id.
local stream, breaks, edge, purges = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local read, given = ARGV[1], ARGV[2]

local function parts(id)
  local ms, seq = string.match(id, '^(%d+)%-(%d+)$')
  return tonumber(ms), tonumber(seq)
end

local function is_less(a, b)
  local a_ms, a_seq = parts(a)
  local b_ms, b_seq = parts(b)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end

local last, first = '0-0', nil
local is_there = redis.call('EXISTS', stream) == 1
if is_there then
  local info = redis.call('XINFO', 'STREAM', stream)
  for n = 1, #info, 2 do
    if info[n] == 'last-generated-id' then
      last = info[n + 1]
    elseif info[n] == 'first-entry' and info[n + 1] then
      first = info[n + 1][1]
    end
  end
end
local broken, purged = redis.call('GET', breaks), redis.call('GET', purges)
local trimmed = purged and redis.call('GET', edge)
if first and trimmed and is_less(trimmed, first) then
  first = trimmed -- entries in between were purged, and not trimmed
end

-- What Redis comes back with is what it had at some moment before: if an entry is there, all before it are.
local function is_lost(id)
  if id == '0-0' then
    return false
  elseif is_less(last, id) then
    return true
  elseif (broken and is_less(id, broken)) or not first or is_less(id, first) then
    return false -- whoever reads on from there comes to a break, or to the edge of what was trimmed
  elseif purged and not is_less(purged, id) then
    return false -- it may have been purged, and the record of that is newer than all entries that it deletes
  end
  return #redis.call('XRANGE', stream, id, id) == 0
end

if not is_there or ARGV[3] == '1' or is_lost(read) or is_lost(given) then
  local time = redis.call('TIME')
  local ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  for _, id in ipairs({ last, read, given }) do
    ms = math.max(ms, parts(id) + 1)
  end
  last = string.format('%.0f-0', ms)
  redis.call('XADD', stream, last, 'break', '1')
  redis.call('SET', breaks, last)
  if not is_there then
    redis.call('DEL', edge, purges)
  end
  first = first or last
end

local entry = redis.call('XRANGE', stream, read, read)[1]
return { last, first or '', entry and entry[2] or {} }
