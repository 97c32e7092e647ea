"""Many wait for runs, through one subscription."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import redis

from app.runs.listening import RunListener
from app.runs.streams import CHANNEL
from app.settings import Settings
from tests.engine.desk import Desk
from tests.engine.documents import inline, tool

MANY = 150


def test_a_hundred_and_fifty_wait_at_once_with_one_connection_to_redis(desk: Desk, settings: Settings) -> None:
    client = redis.Redis.from_url(settings.storage.redis_url, max_connections=5)
    listener = RunListener(client, desk.store, max_waiting=MANY)
    run_id = desk.submit([inline(tool("mark", "a"))])
    inside = threading.Barrier(MANY + 1)

    def wait() -> bool:
        with listener.waiter(run_id) as waiter:
            assert waiter is not None
            inside.wait(30)
            return waiter.wait(30)

    try:
        with ThreadPoolExecutor(MANY) as pool:
            waits = [pool.submit(wait) for _ in range(MANY)]
            inside.wait(30)
            assert listener.waiting == MANY
            with listener.waiter(run_id) as one_too_many:
                assert one_too_many is None
            client.publish(CHANNEL, run_id)
            assert all(future.result(30) for future in waits)
        assert listener.waiting == 0
    finally:
        listener.close()
        client.close()


def test_news_are_heard_of_without_any_message(desk: Desk, settings: Settings) -> None:
    client = redis.Redis.from_url(settings.storage.redis_url)
    listener = RunListener(client, desk.store, max_waiting=5)
    run_id = desk.submit([inline(tool("mark", "a"))])
    started = time.monotonic()
    try:
        with listener.waiter(run_id) as waiter:
            assert waiter is not None
            assert waiter.wait(30)
        assert time.monotonic() - started < 15
    finally:
        listener.close()
        client.close()
