-- Keeps sessions that nobody else holds.
-- KEYS: the sessions. ARGV, four for each: its holder, the holder before, milliseconds to keep it, and the session or ''.
-- For each: 0 done, 1 there is none, 2 somebody else holds it.
local told = {}
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 4
  local holder, before, keep, session = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local held = redis.call('HGET', key, 'holder')
  if held and held ~= holder and held ~= before then
    told[i] = 2
  elseif session == '' and not held then
    told[i] = 1
  else
    if session ~= '' then
      redis.call('HSET', key, 'holder', holder, 'session', session)
    end
    redis.call('PEXPIRE', key, keep)
    told[i] = 0
  end
end
return told
