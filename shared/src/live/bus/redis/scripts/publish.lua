-- Adds publications to the stream, each whole; one whose key is remembered adds nothing, and gets its first answer if it
-- is the same publication.
--
-- KEYS: the stream, what keys take of memory, the index of streams, then of each publication that has one its key, and what the keys of its
--   scope take, and the journals of the streams that it is published to.
-- ARGV: for how many milliseconds a key is remembered, how many bytes keys may take, and how many publications have one; then for each
--   publication the number of its key in KEYS (0: none), of its messages, and of its channels that are streams, with a key the digest of all
--   messages (32 digits), for each stream its channel, the id of the last operation that changed what may be published, and the number of its
--   journal in KEYS, and for each message its kind, channel, event and data, and what
--   the kind says, which is a sum: 1 the name of who sent it, 4 the user of its token, 2 attachments, in this order.
-- Answers a text for each publication: `n` or, for a repeated one, `r`, then the ids with a space between; `o`: the key
--   was used for other messages; `k` and milliseconds: there is no room for its key before
--   that, since a scope may take as much as it leaves free; `x` and why: refused, nothing was added; `u` and why:
--   some of it may have been added; `c` and the newest id: nothing was added, since a stream is not as the publisher knew it.
local stream, usage, index, lifetime, room, size = KEYS[1], KEYS[2], KEYS[3], tonumber(ARGV[1]), tonumber(ARGV[2]), #ARGV
local call, pcall, argv = redis.call, redis.pcall, ARGV
-- The fields of each kind beside channel, event and data.
local more = {
  ['0'] = {}, ['1'] = { 'from' }, ['2'] = { 'attachments' }, ['3'] = { 'from', 'attachments' },
  ['4'] = { 'user' }, ['5'] = { 'from', 'user' }, ['6'] = { 'user', 'attachments' }, ['7'] = { 'from', 'user', 'attachments' },
}
-- Keys are counted by when they were taken, in slices of so many milliseconds.
local slice = 10000
-- What a key costs beside its text and its answer, and what a scope costs while it has one.
local overhead, scope_cost = 200, 300

local function error_of(answer)
  return type(answer) == 'table' and answer.err
end

-- Without a stream there is no word of what was lost with it: whoever joins first makes a new one and says so. So
-- nothing is added to none. The common kind has the fewest words, for most of the time goes into handing them over.
local function add(kind, at)
  local channel, event, data = argv[at + 1], argv[at + 2], argv[at + 3]
  if kind == '0' then
    return pcall('XADD', stream, 'NOMKSTREAM', '*', 'channel', channel, 'event', event, 'data', data)
  end
  local names = more[kind]
  if #names == 1 then
    return pcall('XADD', stream, 'NOMKSTREAM', '*', 'channel', channel, 'event', event, 'data', data, names[1], argv[at + 4])
  elseif #names == 2 then
    return pcall('XADD', stream, 'NOMKSTREAM', '*', 'channel', channel, 'event', event, 'data', data, names[1], argv[at + 4],
      names[2], argv[at + 5])
  end
  return pcall('XADD', stream, 'NOMKSTREAM', '*', 'channel', channel, 'event', event, 'data', data, names[1], argv[at + 4],
    names[2], argv[at + 5], names[3], argv[at + 6])
end

-- What keys take, as `slice:bytes …`, of all and of each scope. That of all is written once before anything is added: if that is
-- refused, so is everything with a key, since its answer could not be remembered.
local now, all, scopes, no_keys = 0, nil, {}, nil
local function read_usage(text)
  local of = { slices = {}, taken = 0 }
  for one, bytes in string.gmatch(text or '', '(%d+):(%d+)') do
    one, bytes = tonumber(one), tonumber(bytes)
    if (one + 1) * slice + lifetime > now * slice and one <= now then
      of.slices[one], of.taken = bytes, of.taken + bytes
    end
  end
  return of
end
local function write_usage(name, of)
  local words = {}
  for one, bytes in pairs(of.slices) do
    words[#words + 1] = string.format('%.0f:%.0f', one, bytes)
  end
  return pcall('SET', name, table.concat(words, ' '), 'PX', lifetime + slice)
end
local function take(of, bytes)
  of.slices[now], of.taken, of.is_changed = (of.slices[now] or 0) + bytes, of.taken + bytes, true
end
-- Milliseconds until the oldest of its keys are forgotten.
local function wait(of)
  local oldest = now
  for one in pairs(of.slices) do
    oldest = math.min(oldest, one)
  end
  return (oldest + 1 - now) * slice + lifetime
end
if ARGV[3] ~= '0' then
  local time, text = pcall('TIME'), pcall('GET', usage)
  no_keys = error_of(time) or error_of(text)
  if not no_keys then
    now = math.floor((tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)) / slice)
    all = read_usage(text)
    no_keys = error_of(write_usage(usage, all))
  end
end

-- The streams of the index, as far as they have been asked for: without any, one command says so.
local has_streams, streams = nil, {}
local function stream_of(channel)
  if has_streams == nil then
    has_streams = call('EXISTS', index) == 1
  end
  if not has_streams then
    return nil
  end
  local known = streams[channel]
  if known == nil then
    local base, version, token, mark = string.match(call('HGET', index, channel) or '', '^(%S+) (%S+) %S+ (%S+)(.*)$')
    -- The channel of a deleted one is one as any other.
    known = base and mark == '' and { base = base, version = version, token = token } or false
    streams[channel] = known
  end
  return known or nil
end
local function newest()
  local info = call('XINFO', 'STREAM', stream)
  for n = 1, #info, 2 do
    if info[n] == 'last-generated-id' then
      return info[n + 1]
    end
  end
end

local answers, at = {}, 4
while at <= size do
  local key, count, checks = tonumber(argv[at]), tonumber(argv[at + 1]), tonumber(argv[at + 2])
  at = at + 3
  local digest, answer
  if key > 0 then
    digest = argv[at]
    at = at + 1
  end
  local expected, journals, is_changed = {}, {}, false
  for _ = 1, checks do
    expected[argv[at]], journals[argv[at]] = argv[at + 1], KEYS[tonumber(argv[at + 2])]
    at = at + 3
  end
  local message = at
  for _ = 1, count do
    local channel = argv[message + 1]
    local known = stream_of(channel)
    is_changed = is_changed or expected[channel] ~= (known and known.base)
    message = message + 4 + #more[argv[message]]
  end
  if key > 0 then
    local given = no_keys and { err = no_keys } or pcall('GET', KEYS[key])
    if error_of(given) then
      answer = 'x' .. error_of(given)
    elseif given then
      answer = string.sub(given, 1, 32) == digest and 'r' .. string.sub(given, 33) or 'o'
    elseif not is_changed then
      -- An id has 15 characters and more.
      local cost, name = overhead + #KEYS[key] + 32 + 18 * count, KEYS[key + 1]
      local of = scopes[name]
      if not of then
        local text = pcall('GET', name)
        of = read_usage(not error_of(text) and text)
        scopes[name] = of
      end
      local own = of.taken
      cost = cost + (own == 0 and scope_cost or 0)
      if all.taken + own + cost > room then
        answer = string.format('k%.0f', wait(own > 0 and of or all))
      else
        take(all, cost)
        take(of, cost)
      end
    end
  end
  if is_changed and not answer then
    answer = call('EXISTS', stream) == 1 and 'c' .. newest() or nil
    if not answer then
      return redis.error_reply('GONE the stream is not there')
    end
  end
  if answer then
    at = message
  else
    local placed = {}
    for n = 1, count do
      local kind = argv[at]
      local id = not answer and add(kind, at)
      if error_of(id) then
        answer = (n == 1 and 'x' or 'u') .. id.err
      elseif not id and not answer then
        return redis.error_reply('GONE the stream is not there')
      end
      placed[n] = id
      local channel, length = argv[at + 1], 4 + #more[kind]
      if journals[channel] and not answer then
        local fields = { 'channel', channel, 'event', argv[at + 2], 'data', argv[at + 3] }
        for m, name in ipairs(more[kind]) do
          fields[#fields + 1], fields[#fields + 2] = name, argv[at + 3 + m]
        end
        local known = streams[channel]
        local kept = pcall('XADD', journals[channel], id, unpack(fields))
        local indexed = not error_of(kept)
          and pcall('HSET', index, channel, string.format('%s %s %s %s', known.base, known.version, id, known.token))
        if error_of(kept) or error_of(indexed) then
          answer = 'u' .. (error_of(kept) or error_of(indexed))
        end
      end
      at = at + length
    end
    if not answer then
      local ids = table.concat(placed, ' ')
      answer = 'n' .. ids
      if key > 0 then
        local set = pcall('SET', KEYS[key], digest .. ids, 'PX', lifetime)
        if error_of(set) then
          answer = 'u' .. set.err
        end
      end
    end
  end
  answers[#answers + 1] = answer
end
if all and all.is_changed then
  write_usage(usage, all)
end
for name, of in pairs(scopes) do
  if of.is_changed then
    write_usage(name, of)
  end
end
return answers
