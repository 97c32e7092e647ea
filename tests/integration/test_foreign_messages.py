"""Whoever can write to Redis can put anything into a queue; a worker must outlive it."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis
from kombu import Connection, Consumer, Queue

from app.broker import broker_url, celery_configuration
from app.settings import Settings

FOREIGN = [b"", b"[]", b"null", b"{}", b"\xff\xfe", b"no json", b'{"body": 3, "properties": {}}', b'"text"']


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_message_that_is_none_of_ours_is_dropped_and_the_next_one_served(settings: Settings, foreign: bytes) -> None:
    options = celery_configuration(settings)
    client = redis.Redis.from_url(settings.storage.redis_url)
    taken: list[Any] = []
    came = threading.Event()

    def take(body: Any, message: Any) -> None:
        taken.append(body)
        message.ack()
        came.set()

    url = broker_url(settings.storage.redis_url)
    with Connection(url, transport=options["broker_transport"]) as connection:
        queue = Queue("inline.high", routing_key="inline.high")
        with connection.Producer() as producer:
            client.lpush("inline.high", foreign)
            producer.publish({"ours": True}, routing_key="inline.high", declare=[queue], serializer="json")
            with Consumer(connection, [queue], callbacks=[take], accept=["json"]):
                for _ in range(20):
                    if came.is_set():
                        break
                    try:
                        connection.drain_events(timeout=1)
                    except TimeoutError:
                        continue
    client.close()

    assert taken == [{"ours": True}]
