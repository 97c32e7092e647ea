"""Let every message be delivered twice: `EXTENSIONS=tests.engine.tools,tests.engine.doubling`."""

from __future__ import annotations

from typing import Any

import kombu.transport.redis

from app.runs.ports import HandlerCatalog


def register(_: HandlerCatalog) -> None:
    """Double what the worker puts into queues, chain hops included; once a process."""
    channel: Any = kombu.transport.redis.Channel
    put = channel._put
    if getattr(put, "doubles", False):
        return

    def put_twice(self: Any, queue: str, message: Any, **options: Any) -> None:
        put(self, queue, message, **options)
        put(self, queue, message, **options)

    vars(put_twice)["doubles"] = True
    channel._put = put_twice
