-- Deletes messages of a channel from the stream: one slice of it.
--
-- KEYS: the stream.
-- ARGV: the channel, where the slice begins (an id, or `(` and the id before it), the id of the last message to delete, the number of
--   entries in a slice.
-- Answers: the id of the last entry of the slice; empty if it was the last one.
local entries = redis.call('XRANGE', KEYS[1], ARGV[2], ARGV[3], 'COUNT', ARGV[4])
local ids = {}
for _, entry in ipairs(entries) do
  local fields = entry[2]
  for n = 1, #fields, 2 do
    if fields[n] == 'channel' then
      if fields[n + 1] == ARGV[1] then
        ids[#ids + 1] = entry[1]
      end
      break
    end
  end
end
if #ids > 0 then
  redis.call('XDEL', KEYS[1], unpack(ids))
end
return #entries == tonumber(ARGV[4]) and entries[#entries][1] or ''
