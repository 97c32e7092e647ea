"""The breaker on a real Redis: several workers, one memory."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis
import redis.asyncio

from app.gateway.breaker import read_open_breakers
from app.gateway.gate import RedisGate
from app.gateway.ports import Admission, Passage

OPEN_S = 0.3


def with_workers(redis_url: str, test: Callable[..., Awaitable[Any]], workers: int = 1, **options: Any) -> Any:
    """Run a test with as many workers' breakers as it wants, each with connections of its own."""

    async def run() -> Any:
        clients = [redis.asyncio.Redis.from_url(redis_url, decode_responses=True) for _ in range(workers)]
        try:
            return await test(*(RedisGate(client, **{"open_s": OPEN_S, **options}) for client in clients))
        finally:
            for client in clients:
                await client.aclose()

    return asyncio.run(run())


async def enter(breaker: RedisGate, model: str = "m", provider: str = "openai") -> Admission:
    return await breaker.enter(Passage(provider, model))


async def fail(breaker: RedisGate, times: int = 1, model: str = "m", reason: str = "failures") -> list[bool]:
    return [await breaker.fail(Passage("openai", model), reason=reason, error="it broke") for _ in range(times)]


async def allowed(breaker: RedisGate, model: str = "m") -> bool:
    return (await enter(breaker, model)).allowed


def test_the_fifth_failure_in_a_row_opens_it_for_every_worker(redis_url: str) -> None:
    async def test(*workers: RedisGate) -> None:
        assert await fail(workers[0], 2) == [False, False]
        assert await fail(workers[1], 2) == [False, False]
        assert await allowed(workers[2])
        assert await fail(workers[3]) == [True]
        assert [await allowed(worker) for worker in workers] == [False] * 4

    with_workers(redis_url, test, workers=4)


def test_a_success_starts_the_count_anew(redis_url: str) -> None:
    async def test(breaker: RedisGate) -> None:
        await fail(breaker, 4)
        assert (await enter(breaker)).failures == 4
        await breaker.succeed(Passage("openai", "m"))
        assert await fail(breaker, 4) == [False] * 4

    with_workers(redis_url, test)


def test_who_is_refused_learns_how_long(redis_url: str) -> None:
    async def test(breaker: RedisGate) -> None:
        await fail(breaker, 5)
        admission = await enter(breaker)
        assert admission.reason == "failures"
        assert 50 < admission.retry_in_s <= 60

    with_workers(redis_url, test, open_s=60.0)


def test_of_all_workers_exactly_one_probes(redis_url: str) -> None:
    async def test(*workers: RedisGate) -> None:
        await fail(workers[0], 5)
        await asyncio.sleep(OPEN_S + 0.05)
        admissions = await asyncio.gather(*(enter(worker) for worker in workers for _ in range(25)))
        assert sum(admission.allowed for admission in admissions) == 1
        assert sum(admission.probe for admission in admissions) == 1

    with_workers(redis_url, test, workers=4)


def test_a_probe_that_succeeds_closes_it(redis_url: str) -> None:
    async def test(breaker: RedisGate, other: RedisGate) -> None:
        await fail(breaker, 5)
        await asyncio.sleep(OPEN_S + 0.05)
        assert (await enter(breaker)).probe
        await breaker.succeed(Passage("openai", "m"))
        assert await enter(other) == Admission(allowed=True)

    with_workers(redis_url, test, workers=2)


def test_a_probe_that_fails_opens_it_again_at_once(redis_url: str) -> None:
    async def test(breaker: RedisGate) -> None:
        await fail(breaker, 5)
        await asyncio.sleep(OPEN_S + 0.05)
        await enter(breaker)
        assert await fail(breaker) == [True]
        assert not await allowed(breaker)
        await asyncio.sleep(OPEN_S + 0.05)
        assert (await enter(breaker)).probe

    with_workers(redis_url, test)


def test_a_failure_that_was_under_way_when_it_opened_does_not_prolong_it(redis_url: str) -> None:
    async def test(breaker: RedisGate) -> None:
        await fail(breaker, 5)
        before = (await enter(breaker)).retry_in_s
        await asyncio.sleep(0.1)
        await fail(breaker, 3)
        assert (await enter(breaker)).retry_in_s < before - 0.05

    with_workers(redis_url, test)


def test_a_probe_whose_worker_died_is_followed_by_another(redis_url: str) -> None:
    async def test(breaker: RedisGate, other: RedisGate) -> None:
        await fail(breaker, 5)
        await asyncio.sleep(OPEN_S + 0.05)
        assert (await enter(breaker)).probe
        assert not await allowed(other)
        await asyncio.sleep(OPEN_S + 0.05)
        assert (await enter(other)).probe

    with_workers(redis_url, test, workers=2)


def test_a_probe_given_back_can_be_taken_by_another(redis_url: str) -> None:
    async def test(breaker: RedisGate, other: RedisGate) -> None:
        await fail(breaker, 5)
        await asyncio.sleep(OPEN_S + 0.05)
        await enter(breaker)
        await breaker.withdraw(Passage("openai", "m"), Admission(allowed=True, probe=True))
        assert (await enter(other)).probe

    with_workers(redis_url, test, workers=2)


def test_a_probe_whose_caller_was_cancelled_is_given_back(redis_url: str) -> None:
    async def test(breaker: RedisGate) -> None:
        await fail(breaker, 5)
        await asyncio.sleep(OPEN_S + 0.05)
        asking = asyncio.create_task(enter(breaker))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await asyncio.sleep(0.05)
        assert (await enter(breaker)).probe

    with_workers(redis_url, test)


@pytest.mark.parametrize("reason", ["auth", "quota"])
def test_a_refused_key_or_quota_opens_the_whole_provider(redis_url: str, reason: str) -> None:
    async def test(breaker: RedisGate) -> None:
        assert await fail(breaker, 1, reason=reason) == [True]
        admission = await enter(breaker, "another")
        assert (admission.allowed, admission.reason) == (False, reason)
        assert (await enter(breaker, "m", provider="openrouter")).allowed
        await asyncio.sleep(OPEN_S + 0.05)
        assert (await enter(breaker, "another")).probe
        await breaker.succeed(Passage("openai", "another"))
        assert await allowed(breaker, "m")

    with_workers(redis_url, test)


def test_a_retired_model_is_left_alone_for_an_hour_and_the_others_are_not(redis_url: str) -> None:
    async def test(breaker: RedisGate) -> None:
        await fail(breaker, 1, reason="retired")
        admission = await enter(breaker)
        assert admission.reason == "retired"
        assert 3500 < admission.retry_in_s <= 3600
        assert await allowed(breaker, "another")

    with_workers(redis_url, test)


def test_one_model_s_failures_are_not_another_s(redis_url: str) -> None:
    async def test(breaker: RedisGate) -> None:
        await fail(breaker, 5, "vendor/a:free")
        assert not await allowed(breaker, "vendor/a:free")
        assert await allowed(breaker, "vendor/a")

    with_workers(redis_url, test)


def test_a_person_can_read_it_with_redis_cli(redis_url: str) -> None:
    with_workers(redis_url, lambda breaker: fail(breaker, 5, "gpt-6-luna"))
    client = redis.Redis.from_url(redis_url, decode_responses=True)

    shown = client.hgetall("breaker:openai:gpt-6-luna")
    listed = read_open_breakers(client, [("openai", "gpt-6-luna"), ("openai", "never-asked")])
    client.close()

    assert (shown["state"], shown["failures"], shown["reason"], shown["error"]) == ("open", "5", "failures", "it broke")
    assert [(one.provider, one.model, one.reason, one.error) for one in listed] == [
        ("openai", "gpt-6-luna", "failures", "it broke")
    ]
    assert 0 < listed[0].retry_in_s <= OPEN_S


def test_those_who_ask_at_once_share_one_round_trip(redis_url: str) -> None:
    async def test(breaker: RedisGate) -> None:
        client = breaker._redis
        await enter(breaker)
        before = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
        await asyncio.gather(*(enter(breaker) for _ in range(500)))
        after = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
        assert after - before == 1

    with_workers(redis_url, test)


def test_without_redis_every_call_is_let_through_and_one_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    async def test(breaker: RedisGate) -> None:
        assert await fail(breaker, 6) == [False] * 6
        assert await enter(breaker) == Admission(allowed=True)
        await breaker.succeed(Passage("openai", "m"))
        await breaker.withdraw(Passage("openai", "m"), Admission(allowed=True, probe=True))

    with caplog.at_level(logging.WARNING):
        with_workers("redis://127.0.0.1:1/0", test)

    assert [record.message for record in caplog.records if "let through" in record.message]
    assert len(caplog.records) == 1


def test_a_redis_that_hangs_does_not_make_calls_wait(unused_listener: str) -> None:
    async def test(breaker: RedisGate) -> None:
        loop = asyncio.get_running_loop()
        started = loop.time()
        assert (await enter(breaker)).allowed
        assert loop.time() - started < 2

    with_workers(unused_listener, test)


@pytest.fixture
def unused_listener() -> Any:
    """A port that takes connections and never answers."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"
