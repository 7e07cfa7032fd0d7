-- Stores what the holder of a lease has done so far, if it still has the lease.
--
-- KEYS: the lease, the state. ARGV: who asks, the state. Answers 1, or 0 if another has the lease.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[2])
return 1
