-- Changes entries of the holder of a lease, if it still has the lease.
--
-- KEYS: the lease, the entries. ARGV: who asks; of each entry its key, `set` or `remove`, and its value. Answers 1, or 0 if another has the lease.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
for n = 2, #ARGV, 3 do
  if ARGV[n + 1] == 'set' then
    redis.call('HSET', KEYS[2], ARGV[n], ARGV[n + 2])
  else
    redis.call('HDEL', KEYS[2], ARGV[n])
  end
end
return 1
