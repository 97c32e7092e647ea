"""Whether the system serves, and what of it does not."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import redis
import sqlalchemy as sa
import sqlalchemy.exc

from app import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Engine

BEAT_KEY = "batuta:beat"
BEAT_SILENCE_S = 90.0
COUNTED = ("likes_since_last_retrain", "threshold", "is_retraining", "total_batches", "total_generations")
LIVE_WORKERS = sa.text("select count(*) from processes where expires_at > clock_timestamp() and role = 'io'")


@dataclass(frozen=True)
class HealthReport:
    """How the system is.

    Args:
        checks: `ok`, `away`, or for workers and beat a few words.
        counts: the studio's; empty while the database is away.
        warnings: what works, but not as it should.
        uptime_s: seconds since this process began.
    """

    checks: dict[str, str]
    counts: dict[str, Any]
    warnings: list[str]
    models_available: int
    uptime_s: float

    @property
    def serving(self) -> bool:
        """Whether database and broker answer."""
        return self.checks["database"] == "ok" and self.checks["broker"] == "ok"

    def to_json(self) -> dict[str, Any]:
        """Write the answer of `/health`."""
        healthy = all(check == "ok" for check in self.checks.values()) and not self.warnings
        return {
            "status": "healthy" if healthy else "degraded",
            **self.counts,
            "models_available": self.models_available,
            "uptime": round(self.uptime_s, 3),
            "timestamp": dt.datetime.now(dt.UTC).isoformat(),
            "version": __version__,
            "checks": self.checks,
            "warnings": self.warnings,
        }


class Health:
    """Look at everything the system stands on; never raises, and never waits long.

    Args:
        engine: the database.
        client: Redis.
        studio_status: the studio's counters.
        models: how many models can be asked, and what is wrong with the rest.
    """

    def __init__(
        self,
        engine: Engine,
        client: redis.Redis,
        studio_status: Callable[[], dict[str, Any]],
        models: Callable[[], tuple[int, list[str]]],
    ) -> None:
        self._engine = engine
        self._client = client
        self._studio_status = studio_status
        self._models = models
        self._began = time.monotonic()

    def report(self) -> HealthReport:
        """Look now."""
        checks, counts = self._look_at_database()
        checks.update(self._look_at_broker())
        try:
            available, warnings = self._models()
        except redis.RedisError:
            available, warnings = 0, []
        return HealthReport(checks, counts, warnings, available, time.monotonic() - self._began)

    def _look_at_database(self) -> tuple[dict[str, str], dict[str, Any]]:
        try:
            with self._engine.connect() as connection:
                workers = connection.execute(LIVE_WORKERS).scalar_one()
            status = self._studio_status()
        except sqlalchemy.exc.SQLAlchemyError:
            return {"database": "away", "workers": "unknown"}, {}
        counts = {name: status[name] for name in COUNTED if name in status}
        return {"database": "ok", "workers": "ok" if workers else "none"}, counts

    def _look_at_broker(self) -> dict[str, str]:
        try:
            beat: Any = self._client.hget(BEAT_KEY, "at")
        except redis.RedisError:
            return {"broker": "away", "beat": "unknown"}
        if beat is None:
            return {"broker": "ok", "beat": "none"}
        silent_s = time.time() - float(beat)
        return {"broker": "ok", "beat": "ok" if silent_s < BEAT_SILENCE_S else f"silent for {int(silent_s)} s"}
