-- Adds publications to the stream, each whole; one whose key is remembered adds nothing, and gets its first answer if it
-- is the same publication.
--
-- KEYS: the stream, what keys take of memory, then of each publication that has one its key, and what the keys of its scope take.
-- ARGV: for how many milliseconds a key is remembered, and how many bytes keys may take; then for each publication the
--   number of its key in KEYS (0: none)
--   and of its messages, with a key the digest of them all (32 digits), and for each message its kind, channel, event and data, and what
--   the kind says, which is a sum: 1 the name of who sent it, 4 the user of its token, 2 attachments, in this order.
-- Answers a text for each publication: `n` or, for a repeated one, `r`, then the ids with a space between; `o`: the key
--   was used for other messages; `k` and milliseconds: there is no room for its key before
--   that, since a scope may take as much as it leaves free; `x` and why: refused, nothing was added; `u` and why:
--   some of it may have been added.
local stream, usage, lifetime, room, size = KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2]), #ARGV
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
if #KEYS > 2 then
  local time, text = pcall('TIME'), pcall('GET', usage)
  no_keys = error_of(time) or error_of(text)
  if not no_keys then
    now = math.floor((tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)) / slice)
    all = read_usage(text)
    no_keys = error_of(write_usage(usage, all))
  end
end

local answers, at = {}, 3
while at <= size do
  local key, count = tonumber(argv[at]), tonumber(argv[at + 1])
  at = at + 2
  local digest, answer
  if key > 0 then
    digest = argv[at]
    at = at + 1
    local given = no_keys and { err = no_keys } or pcall('GET', KEYS[key])
    if error_of(given) then
      answer = 'x' .. error_of(given)
    elseif given then
      answer = string.sub(given, 1, 32) == digest and 'r' .. string.sub(given, 33) or 'o'
    else
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
  if answer then
    for _ = 1, count do
      at = at + 4 + #more[argv[at]]
    end
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
      at = at + 4 + #more[kind]
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
