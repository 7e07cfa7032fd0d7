-- Stores records. Of two of one name the last one applies, or, if it says so, the greater value and the later end.
--
-- KEYS: the records. ARGV: of each its name, its end, its value, and `1` if it only grows.
local function greatest(a, b)
  -- As text: a value may have more digits than a number has here.
  if #a ~= #b then
    return #a > #b and a or b
  end
  return a > b and a or b
end

for n = 1, #ARGV, 4 do
  local ends, value = ARGV[n + 1], ARGV[n + 2]
  if ARGV[n + 3] == '1' then
    local known_ends, known_value = string.match(redis.call('HGET', KEYS[1], ARGV[n]) or '', '^(%d+) (%d+)$')
    if known_ends then
      ends, value = greatest(ends, known_ends), greatest(value, known_value)
    end
  end
  redis.call('HSET', KEYS[1], ARGV[n], ends .. ' ' .. value)
end
return 1
