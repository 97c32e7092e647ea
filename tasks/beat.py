"""Beat that says it lives: a hash in Redis that `/health` and `redis-cli HGETALL batuta:beat` read."""

from __future__ import annotations

import logging
import time
from typing import Any

import redis
from celery.beat import Scheduler

from app.health import BEAT_KEY
from tasks.runtime import runtime_of

logger = logging.getLogger(__name__)

WRITE_EVERY_S = 10.0


class HeartbeatScheduler(Scheduler):
    """Celery's scheduler in memory, and a heartbeat with when each entry is due next.

    Nothing is kept in a file: a missed firing is found by the catch-up entry, which looks at the database.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._written_at = 0.0
        self._client: redis.Redis | None = None
        super().__init__(*args, **kwargs)

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Send what is due; sleep no longer than the heartbeat allows."""
        wait_s: float = super().tick(*args, **kwargs)
        if time.monotonic() - self._written_at >= WRITE_EVERY_S:
            self._write()
        return min(wait_s, WRITE_EVERY_S)

    def _write(self) -> None:
        self._written_at = time.monotonic()
        if self._client is None:
            self._client = redis.Redis.from_url(
                runtime_of(self.app).settings.storage.redis_url, socket_connect_timeout=3, socket_timeout=3
            )
        fields: dict[Any, Any] = {"at": f"{time.time():.3f}"}
        for name, entry in self.schedule.items():
            remaining = entry.is_due()[1]
            fields[f"next_{name}"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + remaining))
        try:
            self._client.hset(BEAT_KEY, mapping=fields)
        except redis.RedisError as error:
            logger.warning("beat's heartbeat was not written: %s", error)
