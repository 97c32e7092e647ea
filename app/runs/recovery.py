"""Every two seconds, in any worker: send again what was lost, wake what is due, take over from the dead.

It needs neither beat nor any one process. `app/runs/sql/50_recovery.sql` says what it looks at.
"""

from __future__ import annotations

import json
import logging
import threading
from typing import TYPE_CHECKING, Any

import psycopg2
import redis

from app.runs.effects import read_effects
from app.runs.journal import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.runs.model import Effects
    from app.runs.ports import QueueDepths
    from app.settings import EngineSettings

logger = logging.getLogger(__name__)

EVERY_S = 2.0
FULL_PASS_PAUSE_S = 0.1
LIMIT = 500  # rows a part of a pass looks at: a pass stays short, the next one comes soon
EPOCH_KEY = "batuta:epoch"
RECOVER = "select effects, counts from batuta_recover(%s, %s, cast(%s as timestamptz), cast(%s as jsonb))"


class Recovery:
    """Run recovery passes until closed.

    Args:
        dsn: a libpq address; the loop has a connection of its own.
        client: Redis, for the epoch.
        depths: how many messages wait in each queue.
        engine: length of a lease, places for runs.
        publish: takes what a pass found to be sent.
    """

    def __init__(
        self,
        dsn: str,
        *,
        client: redis.Redis,
        depths: QueueDepths,
        engine: EngineSettings,
        publish: Callable[[Effects], None],
    ) -> None:
        self._dsn = dsn
        self._client = client
        self._depths = depths
        self._engine = engine
        self._resized = False
        self._publish = publish
        self._stop = threading.Event()
        self._connection: Any = None
        self._thread = threading.Thread(target=self._run, name="recovery", daemon=True)

    def start(self) -> None:
        """Start the loop."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the pass that runs."""
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        pause_s = 0.0  # the first pass at once: it also makes the places for runs
        while not self._stop.wait(pause_s):
            pause_s = EVERY_S
            try:
                counts = self.pass_once()
                if max(counts.values(), default=0) >= LIMIT:
                    pause_s = FULL_PASS_PAUSE_S  # there is more than one pass looks at
            except (psycopg2.Error, redis.RedisError) as error:
                logger.warning("A recovery pass failed and comes again: %s", str(error).splitlines()[0])
                self._connection = None
            except Exception:  # the loop must outlive anything: nothing else brings back what was lost
                logger.exception("A recovery pass failed and comes again")
                self._connection = None

    def pass_once(self) -> dict[str, Any]:
        """Make one pass.

        Returns:
            Counts: `lost, resent, woken, admitted`, or `busy` when another process makes one now.

        Raises:
            psycopg2.Error: the database does not answer.
        """
        if self._connection is None:
            self._connection = connect(self._dsn)
        if not self._resized:
            with self._connection.cursor() as cursor:
                cursor.execute("select batuta_resize_admission(%s)", (self._engine.max_concurrent_workflows,))
                cursor.execute("select effects from batuta_retry_under_new_caps()")
                self._publish(read_effects(cursor.fetchone()[0]))
            self._resized = True
        epoch, depths = self._broker_state()
        with self._connection.cursor() as cursor:
            cursor.execute(RECOVER, (self._engine.lease_s, LIMIT, epoch, depths))
            effects, counts = cursor.fetchone()
        if effects is not None:
            self._publish(read_effects(effects))
        if any(counts.get(name) for name in ("lost", "resent")):
            logger.info("Recovery: %s", counts)
        return dict(counts)

    def _broker_state(self) -> tuple[str | None, str | None]:
        """Read the epoch and the depths; None, None while Redis is away: sending again then would only count tries."""
        try:
            epoch = self._client.get(EPOCH_KEY)
            if epoch is None:
                # Redis is new, or was emptied: everything that was sent before now is gone.
                with self._connection.cursor() as cursor:
                    cursor.execute("select clock_timestamp()::text")
                    now = cursor.fetchone()[0]
                self._client.set(EPOCH_KEY, now, nx=True)
                epoch = self._client.get(EPOCH_KEY)
            depths = self._depths.depths()
        except redis.RedisError as error:
            logger.warning("Recovery does not reach Redis: %s", error)
            return None, None
        text = epoch.decode() if isinstance(epoch, bytes) else epoch
        return text, json.dumps(depths)
