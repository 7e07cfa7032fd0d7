-- Takes or renews a lease.
--
-- KEYS: the lease, the stream. ARGV: who asks, for how many milliseconds.
-- Answers nothing if another has it, `kept` if whoever asks had it already, and otherwise the cursor at which the one before
-- gave it back, after an `@`, or else the newest id of the stream.
local lease, stream = KEYS[1], KEYS[2]
local holder = redis.call('GET', lease)
local left = holder and string.match(holder, '^@(.+)$')
if holder and not left and holder ~= ARGV[1] then
  return false
end
redis.call('SET', lease, ARGV[1], 'PX', ARGV[2])
if holder == ARGV[1] then
  return 'kept'
elseif left then
  return holder
elseif redis.call('EXISTS', stream) == 1 then
  local info = redis.call('XINFO', 'STREAM', stream)
  for n = 1, #info, 2 do
    if info[n] == 'last-generated-id' then
      return info[n + 1]
    end
  end
end
return '0-0'
