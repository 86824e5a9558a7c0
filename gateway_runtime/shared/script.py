"""A Lua script that Redis runs as one atomic command."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Script:
    """The text of a script, and the name Redis knows it by."""

    source: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest())


BEAT = Script("""\
-- Says that an instance lives and counts those that do. Time is Redis' own, so that the clocks of instances do not matter.
local time = redis.call('TIME')
local now = tonumber(time[1])
if redis.call('TYPE', KEYS[1]).ok ~= 'zset' then redis.call('DEL', KEYS[1]) end
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[2]))
redis.call('ZREMRANGEBYSCORE', KEYS[1], now + 1, '+inf')
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {ARGV[3], redis.call('ZCARD', KEYS[1])}
""")
"""KEYS live set; ARGV instance, seconds a sign of life counts, a word to say back -> {that word, live instances}."""

ADD = Script("""\
if redis.call('TYPE', KEYS[1]).ok ~= 'string' or not tonumber(redis.call('GET', KEYS[1])) then
  redis.call('DEL', KEYS[1])
end
local now = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return now
""")
"""KEYS counter; ARGV amount, milliseconds to live counted from the first addition -> the sum."""
