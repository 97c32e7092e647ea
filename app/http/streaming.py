"""Server-sent events of a run."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from flask import Response

from app.errors import BatutaError, OverloadedError
from app.http.answers import dump
from app.http.application import application
from app.http.problems import AWAY
from app.http.waiting import room

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.runs.model import Event
    from app.runs.service import RunService

logger = logging.getLogger(__name__)

EXPECTED: tuple[type[Exception], ...] = (BatutaError, *AWAY)
RECONNECT_MS = 2000
STREAM_S = 600
"""After this long a stream ends and its reader comes again where it left off, so that none holds a thread for good."""

RETRY_AFTER_S = 10


def stream_events(run_id: str, after: int) -> Response:
    """Stream a run's events until it ends.

    Args:
        run_id: of a run the caller may see.
        after: number of the last event the reader has.

    Raises:
        OverloadedError: half of the web threads wait already.
    """
    waiting_room = room()
    if not waiting_room.try_enter():
        raise OverloadedError("Too many readers follow runs at the moment.", retry_after_s=RETRY_AFTER_S)
    response = Response(_lines(application().runs, run_id, after), content_type="text/event-stream; charset=utf-8")
    response.call_on_close(waiting_room.leave)
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _lines(runs: RunService, run_id: str, after: int) -> Iterator[bytes]:
    ends_at = time.monotonic() + STREAM_S
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    try:
        for event in runs.follow(run_id, after):
            yield b": still here\n\n" if event is None else write_event(event)
            if time.monotonic() > ends_at:
                return
    except EXPECTED:
        # The status is sent long since; the reader comes again and is told 503 then.
        logger.warning("the stream of run %s broke off", run_id, exc_info=True)


def write_event(event: Event) -> bytes:
    """Write one event in the stream's form; its data carry what a reader without event types needs."""
    data = dump(
        {"run_id": event.run_id, "at": event.at, "type": event.type, "step_key": event.step_key, "data": event.data}
    )
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.seq, event.type.encode(), data)
