-- Gives a lease back. KEYS: the lease. ARGV: who has it, the cursor that its next holder goes on from, for how many milliseconds that is
-- kept.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('SET', KEYS[1], '@' .. ARGV[2], 'PX', ARGV[3])
end
return 1
