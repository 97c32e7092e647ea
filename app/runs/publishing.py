"""Publish what a committed transaction asks for: messages, events, wakes.

Publishing happens after the commit, once, and its failures are ignored: what was not sent is sent by recovery.
"""

from __future__ import annotations

import logging
import queue
import threading
from typing import TYPE_CHECKING

import kombu.exceptions
import redis

from app.runs.model import Effects

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.runs.ports import StepSender
    from app.runs.streams import EventStream

logger = logging.getLogger(__name__)

GATHER_LIMIT = 50  # batches of the journal that are published together


class EffectPublisher:
    """Publish effects, at once or in a thread of their own.

    Args:
        sender: sends messages.
        stream: copies events.
        wake: writes the wake of a step of another run; None where nobody can (the web process): recovery wakes it.
    """

    def __init__(self, sender: StepSender, stream: EventStream, wake: Callable[[str, str], None] | None = None) -> None:
        self._sender = sender
        self._stream = stream
        self._wake = wake
        self._effects: queue.SimpleQueue[Effects | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread that `publish_soon` hands to."""
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)
        self._thread.start()

    def close(self, timeout_s: float = 5) -> None:
        """Publish what is queued, then stop."""
        if self._thread is not None:
            self._effects.put(None)
            self._thread.join(timeout_s)

    def publish_soon(self, effects: Effects) -> None:
        """Hand effects to the thread; returns at once."""
        if effects.sends or effects.events or effects.wakes:
            self._effects.put(effects)

    def publish(self, effects: Effects) -> None:
        """Publish now, messages first: somebody waits for those."""
        sends = [send for send in effects.sends if not send.chained]
        if sends:
            try:
                self._sender.send(sends)
            except (kombu.exceptions.OperationalError, redis.RedisError, OSError) as error:
                logger.warning("%d messages were not sent; recovery will: %s", len(sends), error)
        if effects.events:
            self._stream.append(effects.events)
        if self._wake is not None:
            for run_id, key in effects.wakes:
                self._wake(run_id, key)

    def _run(self) -> None:
        while True:
            effects = self._effects.get()
            if effects is None:
                return
            gathered = [effects]
            while len(gathered) < GATHER_LIMIT and not self._effects.empty():
                following = self._effects.get()
                if following is None:
                    self._effects.put(None)
                    break
                gathered.append(following)
            try:
                self.publish(_merge(gathered))
            except Exception:  # the thread must outlive anything: without it nothing would be sent any more
                logger.exception("Publishing failed; recovery will send what is missing")


def _merge(parts: list[Effects]) -> Effects:
    if len(parts) == 1:
        return parts[0]
    return Effects(
        sends=tuple(send for part in parts for send in part.sends),
        events=tuple(event for part in parts for event in part.events),
        wakes=tuple(wake for part in parts for wake in part.wakes),
    )
