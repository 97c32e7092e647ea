"""Rates on a real Redis: several workers, one gate. A minute is short here."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio

from app.gateway.gate import MARGIN, SETTLED_EVERY_S, RedisGate
from app.gateway.ports import Admission, Passage
from app.gateway.registry import RateLimit

MINUTE_S = 0.6


def with_gates(
    redis_url: str,
    test: Callable[..., Awaitable[Any]],
    limit: RateLimit,
    workers: int = 1,
    minute_s: float = MINUTE_S,
) -> Any:
    async def run() -> Any:
        clients = [redis.asyncio.Redis.from_url(redis_url, decode_responses=True) for _ in range(workers)]
        try:
            return await test(*(RedisGate(client, limits={"openai": limit}, minute_s=minute_s) for client in clients))
        finally:
            for client in clients:
                await client.aclose()

    return asyncio.run(run())


async def enter(gate: RedisGate, ticket: str = "", run: str = "r", tokens: int = 0) -> Admission:
    return await gate.enter(Passage("openai", "m", ticket, run, tokens))


async def persist(gate: RedisGate, ticket: str, run: str = "r", tokens: int = 0) -> float:
    """Come back whenever told to, until let through; gives the moment by Redis's clock."""
    while True:
        admission = await enter(gate, ticket, run, tokens)
        if admission.allowed:
            return float(await gate._redis.zscore("rate:openai:minute", f"{admission.entry}:{admission.tokens}") or 0)
        await asyncio.sleep(admission.retry_in_s)


def most_within(moments: list[float], window_s: float) -> int:
    moments = sorted(moments)
    return max(sum(start <= moment < start + window_s for moment in moments) for start in moments)


def test_a_burst_goes_at_once_and_the_next_waits_its_turn(redis_url: str) -> None:
    async def test(gate: RedisGate) -> None:
        admissions = [await enter(gate, f"t{n}") for n in range(12)]
        assert [one.allowed for one in admissions] == [True] * 10 + [False] * 2
        assert 0.5 < admissions[10].retry_in_s <= 1.0
        assert 1.5 < admissions[11].retry_in_s <= 2.0  # its place is behind
        assert admissions[11].reason == "rate"

    with_gates(redis_url, test, RateLimit(60, burst=10), minute_s=60)


def test_no_minute_holds_more_than_its_number_however_the_burst_falls(redis_url: str) -> None:
    async def test(*gates: RedisGate) -> list[float]:
        return await asyncio.gather(*(persist(gates[n % 4], f"t{n}") for n in range(150)))

    moments = with_gates(redis_url, test, RateLimit(60, burst=10), workers=4)

    # A bucket of ten filled sixty times a minute would let seventy through in the first.
    assert most_within(moments, MINUTE_S) <= 60
    assert most_within(moments, MINUTE_S / 60 - 0.001) <= 10
    assert max(moments) - min(moments) < 4 * MINUTE_S  # and the rate is used: 150 need two minutes and a half


def test_who_waits_is_let_through_in_order(redis_url: str) -> None:
    async def test(gate: RedisGate) -> list[float]:
        told = [await enter(gate, f"t{n}") for n in range(30)]  # one after another: that is their order

        async def go_on(n: int) -> float:
            await asyncio.sleep(told[n].retry_in_s)
            return told[n].retry_in_s if told[n].allowed else await persist(gate, f"t{n}")

        return await asyncio.gather(*(go_on(n) for n in range(30)))

    moments = with_gates(redis_url, test, RateLimit(60, burst=1))

    late = [n for n in range(29) if moments[n] > moments[n + 1]]
    assert len(late) <= 2  # two who come back in the same millisecond may change places


def test_a_run_of_one_step_does_not_wait_for_all_of_a_run_of_hundreds(redis_url: str) -> None:
    async def test(gate: RedisGate) -> tuple[float, float]:
        many = [asyncio.create_task(persist(gate, f"many/{n}", run="many")) for n in range(60)]
        await asyncio.sleep(0.05)
        one = await persist(gate, "one/0", run="one")
        moments = await asyncio.gather(*many)
        return one - min(moments), max(moments) - min(moments)

    one, all_of_many = with_gates(redis_url, test, RateLimit(60, burst=1))

    assert one < all_of_many / 3


def test_the_wait_grows_with_the_queue_and_far_behind_one_looks_again_half_way(redis_url: str) -> None:
    async def test(gate: RedisGate) -> list[float]:
        return [(await enter(gate, f"t{n}")).retry_in_s for n in range(301)][1:]

    waits = with_gates(redis_url, test, RateLimit(60, burst=1), minute_s=60)

    assert 9 <= waits[9] <= 10
    assert 49 <= waits[49] <= 50
    assert waits[119] == 60
    assert 149 <= waits[299] <= 150


def test_a_place_whose_owner_does_not_come_back_is_dropped(redis_url: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("app.gateway.gate.GRACE_S", 0.05)

    async def test(gate: RedisGate) -> None:
        await enter(gate, "first")
        gone = [await enter(gate, f"gone{n}", run="gone") for n in range(5)]
        await asyncio.sleep(gone[-1].retry_in_s + 0.1)
        assert (await enter(gate, "new")).allowed

    with_gates(redis_url, test, RateLimit(60, burst=1), minute_s=6)


def test_tokens_of_a_minute_are_kept_to_as_well(redis_url: str) -> None:
    async def test(gate: RedisGate) -> None:
        assert (await enter(gate, "a", tokens=600)).allowed
        second = await enter(gate, "b", tokens=600)
        assert not second.allowed
        assert second.retry_in_s > MINUTE_S * 0.9
        assert (await enter(gate, "c", tokens=300)).reason == "rate"  # behind the one that waits already
        await asyncio.sleep(second.retry_in_s)
        assert (await enter(gate, "b", tokens=600)).allowed

    with_gates(redis_url, test, RateLimit(tokens_per_minute=1000))


def test_what_was_not_used_of_its_tokens_is_given_back(redis_url: str) -> None:
    async def test(gate: RedisGate) -> None:
        passage = Passage("openai", "m", "a", "r", 900)
        admission = await gate.enter(passage)
        gate.settle_soon(passage, admission, 100)
        await asyncio.sleep(2 * SETTLED_EVERY_S)
        assert (await enter(gate, "b", tokens=800)).allowed
        assert not (await enter(gate, "c", tokens=200)).allowed

    with_gates(redis_url, test, RateLimit(tokens_per_minute=1000), minute_s=60)


def test_a_request_over_the_whole_minute_s_tokens_goes_alone(redis_url: str) -> None:
    async def test(gate: RedisGate) -> None:
        assert (await enter(gate, "a", tokens=5000)).allowed
        assert not (await enter(gate, "b", tokens=1)).allowed
        await asyncio.sleep(MINUTE_S * (1 + MARGIN))
        assert (await enter(gate, "b", tokens=5000)).allowed

    with_gates(redis_url, test, RateLimit(tokens_per_minute=1000))


def test_an_open_breaker_takes_nothing_of_the_rate(redis_url: str) -> None:
    async def test(gate: RedisGate) -> None:
        await gate.fail(Passage("openai", "broken"), reason="retired", error="gone")
        for n in range(20):
            assert (await gate.enter(Passage("openai", "broken", f"b{n}", "r"))).reason == "retired"
        assert (await enter(gate, "a")).allowed

    with_gates(redis_url, test, RateLimit(60, burst=1), minute_s=60)


def test_a_wait_for_the_rate_does_not_use_up_the_probe(redis_url: str) -> None:
    async def test(gate: RedisGate) -> None:
        for _ in range(5):
            await gate.fail(Passage("openai", "m"), reason="failures", error="it broke")
        assert (await gate.enter(Passage("openai", "other", "o", "r"))).allowed
        gate._open_s = 0.01
        for _ in range(5):
            await gate.fail(Passage("openai", "slow"), reason="failures", error="it broke")
        await asyncio.sleep(0.02)
        waiting = await gate.enter(Passage("openai", "slow", "s", "r"))
        assert (waiting.reason, waiting.probe) == ("rate", False)
        await asyncio.sleep(waiting.retry_in_s)
        assert (await gate.enter(Passage("openai", "slow", "s", "r"))).probe

    with_gates(redis_url, test, RateLimit(60, burst=1), minute_s=6)


def test_a_provider_without_a_limit_leaves_nothing_behind_in_redis(redis_url: str) -> None:
    async def test(gate: RedisGate) -> None:
        assert (await enter(gate)).allowed
        assert await gate._redis.keys("rate:*") == []

    with_gates(redis_url, test, RateLimit(0))


def test_without_redis_nothing_is_held_back() -> None:
    async def test(gate: RedisGate) -> None:
        assert [(await enter(gate)).allowed for _ in range(3)] == [True] * 3

    with_gates("redis://127.0.0.1:1/0", test, RateLimit(1, burst=1))


def test_a_redis_that_forgot_the_scripts_is_told_them_again(redis_url: str) -> None:
    async def test(gate: RedisGate) -> None:
        assert (await enter(gate, "a")).entry
        await gate._redis.script_flush()
        assert (await enter(gate, "b")).entry

    with_gates(redis_url, test, RateLimit(60))


@pytest.mark.parametrize("limit", [RateLimit(60, burst=1), RateLimit(0, tokens_per_minute=100)])
def test_a_request_that_is_not_sent_gives_its_whole_place_back(redis_url: str, limit: RateLimit) -> None:
    async def test(gate: RedisGate) -> list[bool]:
        first = await enter(gate, "a", tokens=100)
        await gate.withdraw(Passage("openai", "m", "a", "r", 100), first)
        return [(await enter(gate, ticket, tokens=100)).allowed for ticket in ("b", "c")]

    assert with_gates(redis_url, test, limit, minute_s=60) == [True, False]
