"""Send steps through Celery: inline ones as a chain, side-by-side ones as a group."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from celery import chain, group

from app.broker import QUEUES, RUN_STEP

if TYPE_CHECKING:
    from collections.abc import Iterable

    import redis
    from celery import Celery
    from celery.canvas import Signature

    from app.runs.model import Send


class CelerySender:
    """Publish steps' messages; they hold ids only.

    Args:
        app: the configured Celery application.
    """

    def __init__(self, app: Celery) -> None:
        self._app = app

    def send(self, sends: Iterable[Send]) -> None:
        """Publish once, in order.

        Raises:
            kombu.exceptions.OperationalError: the broker does not answer; what was not sent is recovery's.
        """
        with self._app.producer_or_acquire() as producer:
            for (queue, inline), together in groupby(sends, key=_group_key):
                if inline:
                    for send in together:
                        self._chain(send).apply_async(producer=producer, add_to_parent=False)
                else:
                    signatures = [self._signature(send.run_id, send.key, send.name, queue) for send in together]
                    if len(signatures) == 1:
                        signatures[0].apply_async(producer=producer, add_to_parent=False)
                    else:
                        group(signatures, app=self._app).apply_async(producer=producer, add_to_parent=False)

    def _chain(self, send: Send) -> Signature:
        first = self._signature(send.run_id, send.key, send.name, send.queue)
        if not send.tail:
            return first
        rest = [self._signature(send.run_id, key, name, send.queue) for key, name in send.tail]
        return chain(first, *rest, app=self._app)

    def _signature(self, run_id: str, key: str, name: str, queue: str) -> Signature:
        options: dict[str, Any] = {"queue": queue, "shadow": name}
        return self._app.signature(RUN_STEP, kwargs={"run": run_id, "step": key}, immutable=True, **options)


def _group_key(send: Send) -> tuple[str, bool]:
    return send.queue, send.queue.startswith("inline.")


class RedisQueueDepths:
    """Count the messages that wait in each queue.

    Args:
        client: Redis; with `priority_steps` of one, a queue is one list.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def depths(self) -> dict[str, int]:
        """Map each queue to its length."""
        pipe = self._client.pipeline(transaction=False)
        for name in QUEUES:
            pipe.llen(name)
        return dict(zip(QUEUES, pipe.execute(), strict=True))
