-- Gets hold of a session. KEYS[1]: the session. ARGV[1]: who wants it.
-- Nothing, or: who had it, the session, milliseconds for which it is still kept.
local found = redis.call('HMGET', KEYS[1], 'holder', 'session')
if not found[2] then
  return false
end
redis.call('HSET', KEYS[1], 'holder', ARGV[1])
return { found[1], found[2], redis.call('PTTL', KEYS[1]) }
