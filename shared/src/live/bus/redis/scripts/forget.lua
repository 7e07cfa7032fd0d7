-- Removes records that have not been replaced in the meantime. KEYS: the records. ARGV: the name and the content of each.
for n = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[n]) == ARGV[n + 1] then
    redis.call('HDEL', KEYS[1], ARGV[n])
  end
end
return 1
