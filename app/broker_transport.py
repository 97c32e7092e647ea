"""kombu's Redis transport without what the journal makes needless.

kombu writes every message it takes to `unacked` in Redis and deletes it there when it is acknowledged: two round trips
a message on the thread that receives. That record loses a message when the process is killed between the two, and hands
every running step out again when only a connection was reset. Here recovery brings back what is lost, so a message that
was taken is remembered in memory only, where it still holds the prefetch limit. And a client object is made once a
channel instead of once a command, which cost an eighth of a worker's time.

Source: kombu 5.7 `kombu/transport/redis.py`; measured in docs/performance.md.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from kombu.transport import redis, virtual

_redis: Any = redis  # the stubs know little of it
_virtual: Any = virtual
logger = logging.getLogger(__name__)


class MemoryQoS(_redis.QoS):  # type: ignore[misc]  # the base is untyped
    """Remember taken messages in memory."""

    restore_at_shutdown = False

    def append(self, message: Any, delivery_tag: str) -> None:
        """Remember a message that was taken."""
        _virtual.QoS.append(self, message, delivery_tag)

    def ack(self, delivery_tag: str) -> None:
        """Forget a message that has served."""
        _virtual.QoS.ack(self, delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 - kombu's signature
        """Forget a message, or put it back in front of its queue."""
        message = self._delivered.get(delivery_tag)
        if requeue and message is not None:
            delivery = message.delivery_info
            with self.channel.conn_or_acquire() as client:
                self.channel._do_restore_message(  # noqa: SLF001 - a subclass's business
                    message._raw,  # noqa: SLF001
                    delivery["exchange"],
                    delivery["routing_key"],
                    client,
                    leftmost=True,
                )
        _virtual.QoS.ack(self, delivery_tag)

    def restore_visible(self, start: int = 0, num: int = 10, interval: int = 10) -> None:
        """Look for nothing: nothing is recorded."""


class LeanChannel(_redis.Channel):  # type: ignore[misc]  # the base is untyped
    """A channel that keeps one client for its commands."""

    QoS = MemoryQoS

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (json.JSONDecodeError, UnicodeDecodeError):
            # It is out of the queue already. Left to kombu it would end the worker.
            logger.error("a message that is no JSON was dropped")  # noqa: TRY400 - its trace says nothing more
            return True

    def _create_client(self, asynchronous: bool = False) -> Any:  # noqa: FBT001, FBT002 - kombu's signature
        if asynchronous:
            return super()._create_client(asynchronous=True)
        pool = self.pool
        kept = self.__dict__.get("_kept_client")
        # The pool is made anew after a loss of connection; a client belongs to its pool.
        if kept is None or kept.connection_pool is not pool:
            kept = super()._create_client()
            self.__dict__["_kept_client"] = kept
        return kept


class LeanTransport(_redis.Transport):  # type: ignore[misc]  # the base is untyped
    """The transport that `broker_transport` names."""

    Channel = LeanChannel

    def _deliver(self, message: Any, queue: str) -> None:
        try:
            super()._deliver(message, queue)
        except (KeyError, IndexError, TypeError, ValueError, AttributeError):
            # Whoever can write to Redis can send anything; what has not our shape must not end the worker.
            logger.exception("a message in %s that is none of ours was dropped", queue)
