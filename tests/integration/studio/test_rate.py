"""Airtable's rate over several processes, on real Redis."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import redis

from app.errors import StepParked
from app.studio.rate import SPACING_MS, AirtableRate


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    connection = redis.Redis.from_url(redis_url)
    yield connection
    connection.close()


def test_ten_askers_at_once_never_make_more_than_five_requests_in_a_second(client: redis.Redis) -> None:
    sent: list[float] = []

    def ask() -> None:
        AirtableRate(client, "appX", 30).take()  # one for itself, as another process has
        sent.append(time.monotonic())

    threads = [threading.Thread(target=ask) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent.sort()
    assert all(later - earlier > 0.98 for earlier, later in zip(sent, sent[5:], strict=False))
    assert sent[-1] - sent[0] < 9 * SPACING_MS / 1000 + 0.5


def test_two_bases_do_not_wait_for_each_other(client: redis.Redis) -> None:
    begun = time.monotonic()
    AirtableRate(client, "appX", 30).take()
    AirtableRate(client, "appY", 30).take()
    assert time.monotonic() - begun < SPACING_MS / 1000


def test_a_penalty_holds_for_everybody_and_gives_the_workers_place_back(client: redis.Redis) -> None:
    AirtableRate(client, "appX", 30).penalise()
    with pytest.raises(StepParked) as caught:
        AirtableRate(client, "appX", 30).take()
    assert caught.value.reason == "rate"
    assert caught.value.delay_s == pytest.approx(30, abs=1)
    assert client.get("airtable:appX:penalty") is not None
    assert 29_000 < int(client.pttl("airtable:appX:penalty")) <= 30_000


def test_a_short_penalty_is_waited_for(client: redis.Redis) -> None:
    rate = AirtableRate(client, "appX", 0.4)
    rate.penalise()
    begun = time.monotonic()
    rate.take()
    assert 0.35 < time.monotonic() - begun < 1.5


def test_a_longer_penalty_is_not_shortened_by_a_shorter_one(client: redis.Redis) -> None:
    AirtableRate(client, "appX", 30).penalise()
    AirtableRate(client, "appX", 1).penalise()
    assert int(client.pttl("airtable:appX:penalty")) > 29_000


def test_who_waits_while_a_penalty_begins_waits_for_its_end_too(client: redis.Redis) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        if not slept:
            AirtableRate(client, "appX", 2).penalise()
        slept.append(seconds)

    rate = AirtableRate(client, "appX", 2, sleep=sleep)
    rate.take()
    rate.take()
    assert len(slept) == 2
    assert slept[1] > 1


def test_who_waited_for_a_penalty_s_end_does_not_wait_again_because_it_is_still_to_be_seen(
    client: redis.Redis,
) -> None:
    slept: list[float] = []
    rate = AirtableRate(client, "appX", 3, sleep=slept.append)
    rate.penalise()
    rate.take()
    assert client.get("airtable:appX:penalty") is not None
    assert len(slept) == 1
