"""Wait for runs: one listener a process, however many requests wait.

The listener wakes at once by the small messages on Redis; every second the journal is asked about all that is waited
for, so that an emptied Redis hangs nobody.
"""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import redis
import sqlalchemy.exc

from app.runs.streams import CHANNEL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.runs.store import PgRunStore

logger = logging.getLogger(__name__)

POLL_S = 1.0


class Waiter:
    """One request's wait for news of one run."""

    def __init__(self) -> None:
        self._news = threading.Event()

    def notify(self) -> None:
        """Say that something changed."""
        self._news.set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for news; True when there are some. News that came before the call count."""
        found = self._news.wait(timeout_s)
        self._news.clear()
        return found


class RunListener:
    """Tell waiters of a process that their runs changed.

    Args:
        client: Redis.
        store: the journal.
        max_waiting: waits that may be held at once; more are refused at once.
    """

    def __init__(self, client: redis.Redis, store: PgRunStore, *, max_waiting: int) -> None:
        self._client = client
        self._store = store
        self._max_waiting = max_waiting
        self._waiters: dict[str, set[Waiter]] = {}
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()

    @property
    def waiting(self) -> int:
        """How many wait now."""
        with self._lock:
            return sum(len(waiters) for waiters in self._waiters.values())

    @property
    def closed(self) -> bool:
        """Whether the process is stopping."""
        return self._stop.is_set()

    @contextmanager
    def waiter(self, run_id: str) -> Iterator[Waiter | None]:
        """Register for a run's news; None when too many wait already."""
        waiter = Waiter()
        with self._lock:
            if sum(len(waiters) for waiters in self._waiters.values()) >= self._max_waiting:
                full = True
            else:
                full = False
                self._waiters.setdefault(run_id, set()).add(waiter)
                self._ensure_threads()
        if full:
            yield None
            return
        try:
            yield waiter
        finally:
            with self._lock:
                waiters = self._waiters[run_id]
                waiters.discard(waiter)
                if not waiters:
                    del self._waiters[run_id]

    def close(self) -> None:
        """Wake everybody, and stop the threads within the second they sleep."""
        self._stop.set()
        with self._lock:
            waited_for, threads = list(self._waiters), list(self._threads)
        self._notify(waited_for)
        for thread in threads:
            thread.join(3)

    def _ensure_threads(self) -> None:
        # Made with the first wait, so that a process that forks after it was composed has threads of its own.
        if not self._threads:
            for name, work in (("listener", self._listen), ("listener poll", self._poll)):
                thread = threading.Thread(target=work, name=name, daemon=True)
                thread.start()
                self._threads.append(thread)

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                with self._client.pubsub(  # type: ignore[no-untyped-call]  # redis-py left it out
                    ignore_subscribe_messages=True
                ) as subscription:
                    subscription.subscribe(CHANNEL)
                    while not self._stop.is_set():
                        message = subscription.get_message(timeout=1.0)
                        if message is not None:
                            self._notify(_text(message["data"]).split())
            except (redis.RedisError, OSError) as error:
                logger.warning("The listener lost Redis; the journal is asked meanwhile: %s", error)
                self._stop.wait(1.0)

    def _poll(self) -> None:
        while not self._stop.wait(POLL_S):
            with self._lock:
                wanted = list(self._waiters)
            if not wanted:
                continue
            try:
                # Everybody looks again; a read of one row a second each is what it costs when Redis is away.
                self._notify(list(self._store.status_of(wanted)))
            except sqlalchemy.exc.SQLAlchemyError as error:
                logger.warning("The listener does not reach the database: %s", str(error).splitlines()[0])

    def _notify(self, run_ids: list[str]) -> None:
        with self._lock:
            waiters = [waiter for run_id in run_ids for waiter in self._waiters.get(run_id, ())]
        for waiter in waiters:
            waiter.notify()


def _text(data: bytes | str) -> str:
    return data.decode() if isinstance(data, bytes) else data
