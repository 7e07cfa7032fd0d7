-- Adds publications to the stream, each whole; one whose key is remembered gets its first answer and adds nothing.
--
-- KEYS: the stream, then the keys of the publications that have one.
-- ARGV: for how many milliseconds a key is remembered; then for each publication the number of its key in KEYS (0: none)
--   and of its messages, and for each message the number of its fields and values, and these.
-- Answers a text for each publication: `n` or, for a repeated one, `r`; then the ids with a space between.
local stream, lifetime, size = KEYS[1], ARGV[1], #ARGV
local answers, at = {}, 2
while at <= size do
  local key, count = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
  at = at + 2
  local ids = key > 0 and redis.call('GET', KEYS[key])
  if ids then
    for _ = 1, count do
      at = at + 1 + tonumber(ARGV[at])
    end
    answers[#answers + 1] = 'r' .. ids
  else
    local placed = {}
    for n = 1, count do
      local width = tonumber(ARGV[at])
      -- Without a stream there is no word of what was lost with it: whoever joins first makes a new one and says so.
      local id = redis.call('XADD', stream, 'NOMKSTREAM', '*', unpack(ARGV, at + 1, at + width))
      if not id then
        return redis.error_reply('GONE the stream is not there')
      end
      placed[n] = id
      at = at + 1 + width
    end
    ids = table.concat(placed, ' ')
    if key > 0 then
      redis.call('SET', KEYS[key], ids, 'PX', lifetime)
    end
    answers[#answers + 1] = 'n' .. ids
  end
end
return answers
