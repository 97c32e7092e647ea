"""The fast copy of a run's story in Redis.

`XRANGE run:{id}:events - +` reads it; the rows in `events` are the truth. One small message on `batuta:events` names
the runs that changed, so that each process needs one subscription however many requests wait.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import redis

from app.runs.text import cleaned_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.runs.model import Event

logger = logging.getLogger(__name__)

CHANNEL = "batuta:events"


def stream_key(run_id: str) -> str:
    """Name a run's stream."""
    return f"run:{run_id}:events"


class EventStream:
    """Append events; a Redis that is away loses only the copy.

    Args:
        client: the process's Redis.
        length: events kept a run, about.
        ttl_s: seconds after its last event when a stream goes.
    """

    def __init__(self, client: redis.Redis, *, length: int, ttl_s: int) -> None:
        self._client = client
        self._length = length
        self._ttl_s = ttl_s

    def append(self, events: Iterable[Event]) -> None:
        """Copy events and tell the listeners; never raises for a Redis that does not answer."""
        pipe = self._client.pipeline(transaction=False)
        run_ids = dict.fromkeys(event.run_id for event in events)
        if not run_ids:
            return
        for event in events:
            pipe.xadd(stream_key(event.run_id), _fields(event), maxlen=self._length, approximate=True)
        for run_id in run_ids:
            pipe.expire(stream_key(run_id), self._ttl_s)
        pipe.publish(CHANNEL, " ".join(run_ids))
        try:
            pipe.execute()
        except redis.RedisError as error:
            logger.warning("Events were not copied to Redis: %s", error)


def _fields(event: Event) -> dict[Any, Any]:
    fields: dict[Any, Any] = {"seq": event.seq, "at": event.at, "type": event.type}
    if event.step_key:
        fields["step"] = event.step_key
    if event.data:
        fields["data"] = cleaned_json(event.data)
    return fields
