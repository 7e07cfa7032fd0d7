-- Tries each command that sessions need. KEYS[1]: a session of nobody's. ARGV[1]: milliseconds to keep it.
-- The commands that are refused, each with the reason.
local refused = {}
local function try(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then
    refused[#refused + 1] = command .. ' (' .. answer.err .. ')'
  end
end
try('HSET', KEYS[1], 'holder', '', 'session', '')
try('PEXPIRE', KEYS[1], ARGV[1])
try('HGET', KEYS[1], 'holder')
try('HMGET', KEYS[1], 'holder', 'session')
try('PTTL', KEYS[1])
return refused
