-- Adds publications to the stream, each whole; one whose key is remembered adds nothing, and gets its first answer if it
-- is the same publication.
--
-- KEYS: the stream, then the keys of the publications that have one.
-- ARGV: for how many milliseconds a key is remembered; then for each publication the number of its key in KEYS (0: none)
--   and of its messages, with a key the digest of them all (32 digits), and for each message its kind, channel, event and data, and what the kind says: 1 the name of
--   who sent it, 2 attachments, 3 both.
-- Answers a text for each publication: `n` or, for a repeated one, `r`, then the ids with a space between; or `o`: the key
--   was used for other messages.
local stream, lifetime, size = KEYS[1], ARGV[1], #ARGV
local call, argv = redis.call, ARGV
local widths = { ['0'] = 4, ['1'] = 5, ['2'] = 5, ['3'] = 6 }

-- Without a stream there is no word of what was lost with it: whoever joins first makes a new one and says so. So
-- nothing is added to none. The common kind has the fewest words, for most of the time goes into handing them over.
local function add(kind, at)
  local channel, event, data, more = argv[at + 1], argv[at + 2], argv[at + 3], argv[at + 4]
  if kind == '0' then
    return call('XADD', stream, 'NOMKSTREAM', '*', 'channel', channel, 'event', event, 'data', data)
  end
  local name = kind == '2' and 'attachments' or 'from'
  if kind ~= '3' then
    return call('XADD', stream, 'NOMKSTREAM', '*', 'channel', channel, 'event', event, 'data', data, name, more)
  end
  return call('XADD', stream, 'NOMKSTREAM', '*', 'channel', channel, 'event', event, 'data', data, name, more,
    'attachments', argv[at + 5])
end

local answers, at = {}, 2
while at <= size do
  local key, count = tonumber(argv[at]), tonumber(argv[at + 1])
  at = at + 2
  local digest, given
  if key > 0 then
    digest, given = argv[at], call('GET', KEYS[key])
    at = at + 1
  end
  if given then
    for _ = 1, count do
      at = at + widths[argv[at]]
    end
    answers[#answers + 1] = string.sub(given, 1, 32) == digest and 'r' .. string.sub(given, 33) or 'o'
  else
    local placed = {}
    for n = 1, count do
      local kind = argv[at]
      local id = add(kind, at)
      if not id then
        return redis.error_reply('GONE the stream is not there')
      end
      placed[n] = id
      at = at + widths[kind]
    end
    local ids = table.concat(placed, ' ')
    if key > 0 then
      call('SET', KEYS[key], digest .. ids, 'PX', lifetime)
    end
    answers[#answers + 1] = 'n' .. ids
  end
end
return answers
