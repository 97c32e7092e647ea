"""A provider's rate of requests, shared by all workers through Redis.

The generic cell rate algorithm: one number a provider, the moment at which its bucket will be empty again. A place is
taken or not in one atomic step; who gets none learns how long to wait, and gives its thread back meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping

from redis.asyncio import Redis
from redis.exceptions import RedisError

from app.gateway.registry import RateLimit

logger = logging.getLogger(__name__)

PREFIX = "rate:"
ANSWER_TIMEOUT_S = 1.0
COMPLAIN_EVERY_S = 10.0

# KEYS: the provider's. ARGV: seconds between requests, seconds of burst. Answers seconds to wait, 0 when taken.
_TAKE = """
local t = redis.call('TIME') local now = t[1] + t[2] / 1000000
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local wait = full_at - now - tonumber(ARGV[2])
if wait > 0.0005 then return tostring(wait) end
full_at = full_at + tonumber(ARGV[1])
redis.call('SET', KEYS[1], tostring(full_at), 'PX', math.ceil((full_at - now) * 1000) + 1000)
return '0'
"""


class RedisLimiter:
    """The rates of all providers. While Redis is away nothing is held back, and a line in the log says so.

    Args:
        redis: decodes its answers; used on one loop only.
        limits: by provider; one that is missing, or 0 a minute, is not limited and costs no round trip.
    """

    def __init__(self, redis: Redis, limits: Mapping[str, RateLimit]) -> None:
        self._limits = {name: limit for name, limit in limits.items() if limit.requests_per_minute > 0}
        self._script = redis.register_script(_TAKE)
        self._complained_at = -COMPLAIN_EVERY_S

    async def take(self, provider: str) -> float:
        """Take a place, or say how long to wait."""
        limit = self._limits.get(provider)
        if limit is None:
            return 0.0
        every_s = 60.0 / limit.requests_per_minute
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return float(await self._script(keys=[PREFIX + provider], args=[every_s, (limit.burst - 1) * every_s]))
        except (RedisError, OSError, TimeoutError) as error:
            if time.monotonic() - self._complained_at >= COMPLAIN_EVERY_S:
                self._complained_at = time.monotonic()
                logger.warning(
                    "Redis does not answer the rate limiter; nothing is held back (%s)", type(error).__name__
                )
            return 0.0
