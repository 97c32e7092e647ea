"""Kept answers, in Redis: they expire by themselves, and losing them costs a call and nothing else."""

from __future__ import annotations

import json
import logging
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

PREFIX = "answer:"


class RedisAnswerCache:
    """Keep answers for a while; without Redis there are none.

    Args:
        redis: decodes its answers; used on one loop only.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def find(self, key: str) -> dict[str, Any] | None:
        """Find what is kept under a key."""
        try:
            raw = await self._redis.get(PREFIX + key)
        except (RedisError, OSError) as error:
            logger.warning("Redis does not answer the cache of answers (%s)", type(error).__name__)
            return None
        try:
            return None if raw is None else dict(json.loads(raw))
        except (ValueError, TypeError):
            logger.warning("A kept answer cannot be read and is asked for anew")
            return None

    async def keep(self, key: str, answer: dict[str, Any], ttl_s: float) -> None:
        """Keep an answer for so many seconds."""
        try:
            await self._redis.set(PREFIX + key, json.dumps(answer), px=max(1, int(ttl_s * 1000)))
        except (RedisError, OSError) as error:
            logger.warning("Redis does not keep an answer (%s)", type(error).__name__)
