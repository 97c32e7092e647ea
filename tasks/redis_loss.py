"""Keep a worker alive when Redis goes away while a late-acknowledged task runs.

kombu 5.7.0 closes a channel twice on that path; the second close and any acknowledgement on the dead channel raise
AttributeError, which is no connection error, and the worker ends with code 1. Only these two places are widened, only
in the version where it was seen; `tests/chaos/test_redis_loss.py` fails when it stops working or is no longer needed.
"""

from __future__ import annotations

import logging
from typing import Any

import kombu
import kombu.connection
import kombu.message

logger = logging.getLogger(__name__)
_kombu: Any = kombu  # what is patched here, the stubs do not know
AFFECTED = (5, 7)
_MARK = "_batuta_guarded"


def guard_against_redis_loss() -> bool:
    """Widen what kombu survives; once a process.

    Returns:
        Whether this kombu is an affected one.
    """
    if tuple(_kombu.VERSION[:2]) != AFFECTED:
        logger.warning("kombu %s is not the version the guard was made for; it is left alone", _kombu.__version__)
        return False
    if getattr(_kombu.connection.Connection, _MARK, False):
        return True
    _kombu.connection.Connection.maybe_close_channel = _close_channel
    _kombu.message.Message.ack_log_error = _widened(_kombu.message.Message.ack_log_error)
    _kombu.message.Message.reject_log_error = _widened(_kombu.message.Message.reject_log_error)
    setattr(_kombu.connection.Connection, _MARK, True)
    return True


def _close_channel(self: Any, channel: Any) -> None:
    try:
        channel.close()
    except (*self.connection_errors, *self.channel_errors, AttributeError):
        logger.debug("closing a channel of a lost connection failed", exc_info=True)


def _widened(method: Any) -> Any:
    def log_error(self: Any, target: Any, errors: Any, *args: Any, **options: Any) -> Any:
        return method(self, target, (*tuple(errors), AttributeError), *args, **options)

    return log_error
