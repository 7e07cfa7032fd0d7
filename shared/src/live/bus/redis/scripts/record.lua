-- Stores records. Of two of one name, the one with the greater value applies, or, if they are equal, the later end; if it says so, the later end
-- applies in any case.
--
-- KEYS: the records. ARGV: of each its name, its end, its value, and `1` if the later end of both applies.
local function is_greater(a, b)
  -- As text: a value may have more digits than a number has here.
  if #a ~= #b then
    return #a > #b
  end
  return a > b
end

for n = 1, #ARGV, 4 do
  local ends, value = ARGV[n + 1], ARGV[n + 2]
  local known_ends, known_value = string.match(redis.call('HGET', KEYS[1], ARGV[n]) or '', '^(%d+) (%d+)$')
  if known_ends then
    local is_later = is_greater(known_ends, ends)
    if is_greater(known_value, value) then
      value = known_value
      if ARGV[n + 3] ~= '1' or is_later then
        ends = known_ends
      end
    elseif is_later and (known_value == value or ARGV[n + 3] == '1') then
      ends = known_ends
    end
  end
  redis.call('HSET', KEYS[1], ARGV[n], ends .. ' ' .. value)
end
return 1
