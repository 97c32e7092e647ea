"""Rates on a real Redis: several workers, one bucket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import redis.asyncio

from app.gateway.limiter import RedisLimiter
from app.gateway.registry import RateLimit


def with_limiters(redis_url: str, test: Callable[..., Awaitable[Any]], limit: RateLimit, workers: int = 1) -> Any:
    async def run() -> Any:
        clients = [redis.asyncio.Redis.from_url(redis_url, decode_responses=True) for _ in range(workers)]
        try:
            return await test(*(RedisLimiter(client, {"openai": limit}) for client in clients))
        finally:
            for client in clients:
                await client.aclose()

    return asyncio.run(run())


def test_a_burst_goes_at_once_and_the_next_waits_its_turn(redis_url: str) -> None:
    async def test(limiter: RedisLimiter) -> None:
        waits = [await limiter.take("openai") for _ in range(12)]
        assert waits[:10] == [0.0] * 10
        assert 0.5 < waits[10] <= 1.0
        assert waits[11] <= waits[10]  # a refused request takes no place

    with_limiters(redis_url, test, RateLimit(60, burst=10))


def test_four_workers_together_keep_within_the_rate(redis_url: str) -> None:
    async def test(*limiters: RedisLimiter) -> int:
        taken = 0
        loop = asyncio.get_running_loop()
        until = loop.time() + 1.0
        while loop.time() < until:
            waits = await asyncio.gather(*(limiter.take("openai") for limiter in limiters))
            taken += sum(wait == 0 for wait in waits)
            await asyncio.sleep(0.005)
        return taken

    taken = with_limiters(redis_url, test, RateLimit(1200, burst=5), workers=4)

    assert 20 <= taken <= 5 + 20 + 2  # the burst, then 20 a second


def test_the_wait_that_is_told_is_enough(redis_url: str) -> None:
    async def test(limiter: RedisLimiter) -> None:
        assert await limiter.take("openai") == 0
        wait = await limiter.take("openai")
        await asyncio.sleep(wait)
        assert await limiter.take("openai") == 0

    with_limiters(redis_url, test, RateLimit(600, burst=1))


def test_no_limit_asks_nobody() -> None:
    async def test(limiter: RedisLimiter) -> None:
        assert await limiter.take("openai") == 0
        assert await limiter.take("other") == 0

    with_limiters("redis://127.0.0.1:1/0", test, RateLimit(0))


def test_without_redis_nothing_is_held_back() -> None:
    async def test(limiter: RedisLimiter) -> None:
        assert [await limiter.take("openai") for _ in range(3)] == [0, 0, 0]

    with_limiters("redis://127.0.0.1:1/0", test, RateLimit(1, burst=1))
