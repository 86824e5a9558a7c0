"""What Redis does for the cache, each as one atomic command. Every key written here gets a time to live.

A generation is a random word, never a counter: after an eviction or a FLUSHALL it starts as a new word that no stored
answer has seen, so nothing old can come back.

A lock's value is its state and the word of the instance that took it:
    L word        somebody is fetching
    F word code   the fetch failed with this code: for those who waited for `word`, once
    P word        the answer may not be shared: everybody fetches for themselves
"""

from __future__ import annotations

from gateway_runtime.shared.client import Script

_GENERATIONS = """\
local function generation(key, word, ttl)
  local found = redis.pcall('GET', key)
  if type(found) ~= 'string' or #found ~= 8 then
    redis.call('SET', key, word, 'PX', ttl)
    return word
  end
  return found
end
"""
_STORED = """\
local function stored(key, limit)
  local size = redis.pcall('STRLEN', key)
  if type(size) ~= 'number' or size == 0 or size > limit then return '' end
  return redis.call('GET', key)
end
"""

FIND = Script(
    _GENERATIONS
    + _STORED
    + """\
local limit = tonumber(ARGV[3])
local seen = ''
for at = 1, 3 do seen = seen .. generation(KEYS[at], ARGV[1], ARGV[2]) end
return {seen, limit > 0 and stored(KEYS[4], limit) or ''}
"""
)
"""KEYS three generations, entry; ARGV new word, ms generations live, most bytes (0: only the generations)."""

BUMP = Script("""\
for at = 1, #KEYS do redis.call('SET', KEYS[at], ARGV[1], 'PX', ARGV[2]) end
return 1
""")
"""KEYS generations; ARGV new word, ms."""

TAKE = Script(
    _STORED
    + """\
local state = redis.pcall('GET', KEYS[1])
if type(state) == 'string' then
  local kind, word = string.sub(state, 1, 1), string.sub(state, 2, 9)
  if kind == 'L' or kind == 'P' or (kind == 'F' and word == ARGV[3]) then return {state, ''} end
end
redis.call('SET', KEYS[1], 'L' .. ARGV[1], 'PX', ARGV[2])
return {'', stored(KEYS[2], tonumber(ARGV[4]))}
"""
)
"""KEYS lock, entry; ARGV my word, lease ms, the word waited for, most bytes -> {the other's state, ''} or {'', entry}."""

RENEW = Script("""\
if redis.pcall('GET', KEYS[1]) == 'L' .. ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
""")
"""KEYS lock; ARGV my word, lease ms."""

STORE = Script("""\
if redis.pcall('GET', KEYS[1]) ~= 'L' .. ARGV[1] then return 'fenced' end
redis.call('DEL', KEYS[1])
local seen = ''
for at = 2, 4 do
  local word = redis.pcall('GET', KEYS[at])
  seen = seen .. (type(word) == 'string' and word or '')
end
if seen ~= ARGV[2] then return 'outdated' end
for at = 5, #KEYS do redis.call('SET', KEYS[at], ARGV[at - 1], 'PX', ARGV[3]) end
return 'stored'
""")
"""KEYS lock, three generations, entries...; ARGV my word, generations seen, ms, values...

Fenced: who lost its lock stores nothing. Outdated: a write came in between."""

SETTLE = Script("""\
if redis.pcall('GET', KEYS[1]) ~= 'L' .. ARGV[1] then return 0 end
if ARGV[2] == '' then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
""")
"""KEYS lock; ARGV my word, its new state ('' to let go), ms."""
