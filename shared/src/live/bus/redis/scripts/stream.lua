-- Makes an operation on a stream that a process has decided, if the streams that it depends on are as the process knew them.
--
-- Of each stream the index has a text: the ids of the last operation that changed what it is (its creation, closing or purge, or forks), of the
-- last append of a producer or with a `Stream-Seq`, and of the last operation at all, the token of its journal, and ` d` if it is deleted and
-- its name is in use by forks. The journal has its messages, and records of its appends and closing, as the log has them and under the same ids.
-- What was before them is a record in the hash of those, behind the id up to which it is one.
--
-- KEYS: the log, the index of streams, the hash of records, the hash of when they were last read, the journal, the id before which
--   entries of the log may have been trimmed, the newest id that a purge may have deleted.
-- ARGV: the operation, the channel, the number of conditions, each with a channel and the three ids in the index (`*`: any; `-` as the
--   first: the stream does not exist); then
--   `check`: nothing.
--   `append`: the number of entries, and the entries, each with its kind: that of a message, with its fields, as for publications; `s` a record of a
--     producer's append, `b` one that changes what the stream is, `r` another one.
--   `create`: the token, the record, the id up to which the process has read the log, the number of copies that the journal has to have, the source
--     (empty: none), entries as for `append`. A message of the channel after that id is a condition that is not met.
--   `end`: the record, the record that is left of it (empty: nothing), the number of streams that are forgotten with it, each, and the one that
--     has one fork less (empty: none).
--   `renew`: the record, and when it was read.
--   `purge`: the id of the newest message that is removed, the id up to which the record describes the stream, the record.
-- Answers `=` and the ids of the entries; or `!` and the newest id of the log if a condition is not met: nothing was changed.
local channel
local log, index, records, uses, journal, edge, purged = unpack(KEYS)
local call = redis.call
local more = {
  ['0'] = {}, ['1'] = { 'from' }, ['2'] = { 'attachments' }, ['3'] = { 'from', 'attachments' },
  ['4'] = { 'user' }, ['5'] = { 'from', 'user' }, ['6'] = { 'user', 'attachments' }, ['7'] = { 'from', 'user', 'attachments' },
}
local at = 0
local function next_arg()
  at = at + 1
  return ARGV[at]
end

if call('EXISTS', log) == 0 then
  return redis.error_reply('GONE the stream is not there')
end

local function info_of(stream, name)
  local info = call('XINFO', 'STREAM', stream)
  for n = 1, #info, 2 do
    if info[n] == name then
      return info[n + 1]
    end
  end
end
local function changed()
  return { '!', info_of(log, 'last-generated-id') }
end

local function known(name)
  local base, version, last, token, mark = string.match(call('HGET', index, name) or '', '^(%S+) (%S+) (%S+) (%S+)(.*)$')
  return base and { base = base, version = version, last = last, token = token, mark = mark }
end
local function set(name, of)
  call('HSET', index, name, string.format('%s %s %s %s%s', of.base, of.version, of.last, of.token, of.mark))
end

-- Whether the channel has a message after this id, or may have one: a process that far behind reads on first.
local most_unread = 10000
local function has_message_after(id)
  local seen = 0
  while seen < most_unread do
    local entries = call('XRANGE', log, '(' .. id, '+', 'COUNT', 500)
    for _, entry in ipairs(entries) do
      if entry[2][1] == 'channel' and entry[2][2] == channel then
        return true
      end
      id = entry[1]
    end
    if #entries < 500 then
      return false
    end
    seen = seen + #entries
  end
  return true
end

local op
op, channel = next_arg(), next_arg()
for _ = 1, tonumber(next_arg()) do
  local name, base, version, last = next_arg(), next_arg(), next_arg(), next_arg()
  local of = known(name)
  if base == '-' then
    if of then
      return changed()
    end
  elseif not of or of.base ~= base or (version ~= '*' and of.version ~= version) or (last ~= '*' and of.last ~= last) then
    return changed()
  end
end

local answer = { '=' }
local function add(...)
  local id = call('XADD', log, '*', ...)
  answer[#answer + 1] = id
  return id
end

-- Adds the entries to the log and to the journal.
local function add_entries(of)
  for _ = 1, tonumber(next_arg()) do
    local kind = next_arg()
    local fields
    if more[kind] then
      fields = { 'channel', next_arg(), 'event', next_arg(), 'data', next_arg() }
      for _, name in ipairs(more[kind]) do
        fields[#fields + 1], fields[#fields + 2] = name, next_arg()
      end
    else
      fields = { 'stream', next_arg() }
    end
    local id = add(unpack(fields))
    call('XADD', journal, id, unpack(fields))
    of.last = id
    if kind == 's' then
      of.version = id
    elseif kind == 'b' then
      of.base = id
    end
  end
end

local function is_less(a, b)
  local a_ms, a_seq = string.match(a, '^(%d+)%-(%d+)$')
  local b_ms, b_seq = string.match(b, '^(%d+)%-(%d+)$')
  a_ms, a_seq, b_ms, b_seq = tonumber(a_ms), tonumber(a_seq), tonumber(b_ms), tonumber(b_seq)
  return a_ms < b_ms or (a_ms == b_ms and a_seq < b_seq)
end
-- As purge.lua.
local function add_purge(up_to)
  local id = call('XADD', log, '*', 'purge', channel, 'up_to', up_to)
  if call('EXISTS', edge) == 0 then
    call('SET', edge, call('XRANGE', log, '-', '+', 'COUNT', 1)[1][1])
  end
  local before = call('GET', purged)
  if not before or is_less(before, up_to) then
    call('SET', purged, up_to)
  end
  return id
end

if op == 'append' then
  local of = known(channel)
  add_entries(of)
  set(channel, of)
elseif op == 'create' then
  local token, record, read, copies, source = next_arg(), next_arg(), next_arg(), tonumber(next_arg()), next_arg()
  if has_message_after(read) then
    return changed()
  end
  if copies > 0 then
    if call('EXISTS', journal) == 0 or info_of(journal, 'length') ~= copies then
      return changed()
    end
    call('PERSIST', journal)
  end
  local id = add('stream', record, 'journal', token)
  call('HSET', records, channel, id .. ' ' .. record)
  call('HDEL', uses, channel)
  local of = { base = id, version = id, last = id, token = token, mark = '' }
  add_entries(of)
  set(channel, of)
  local forked = source ~= '' and known(source)
  if forked then
    forked.base = id
    set(source, forked)
  end
elseif op == 'end' then
  local of, record, rest = known(channel), next_arg(), next_arg()
  local id = add('stream', record)
  -- Everything that it has of the log is removed, as by a purge.
  add_purge(id)
  call('UNLINK', journal)
  call('HDEL', uses, channel)
  if rest == '' then
    call('HDEL', index, channel)
    call('HDEL', records, channel)
  else
    call('HSET', records, channel, id .. ' ' .. rest)
    set(channel, { base = id, version = id, last = id, token = of.token, mark = ' d' })
  end
  for _ = 1, tonumber(next_arg()) do
    local forgotten = next_arg()
    call('HDEL', index, forgotten)
    call('HDEL', records, forgotten)
  end
  local source = next_arg()
  local forked = source ~= '' and known(source)
  if forked then
    forked.base = id
    set(source, forked)
  end
elseif op == 'renew' then
  local of, record, time = known(channel), next_arg(), next_arg()
  of.last = add('stream', record)
  call('HSET', uses, channel, time)
  set(channel, of)
elseif op == 'purge' then
  local of, up_to, last, record = known(channel), next_arg(), next_arg(), next_arg()
  local id = add_purge(up_to)
  answer[#answer + 1] = id
  call('HSET', records, channel, last .. ' ' .. record)
  local ms, seq = string.match(last, '^(%d+)%-(%d+)$')
  call('XTRIM', journal, 'MINID', string.format('%s-%.0f', ms, tonumber(seq) + 1))
  of.base, of.last = id, id
  set(channel, of)
end
return answer
