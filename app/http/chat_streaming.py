"""A chat's answer as server-sent events: its pieces as the model writes them, then the whole.

`token` has `{"text"}`; `restart` says that the pieces so far are void, as another try begins; `done` has the answer and
`error` the problem, both as without streaming; `accepted` has the 202 where the answer does not come within the wait.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flask import Response, request, stream_with_context

from app.chat.answers import answer_first
from app.chat.model import FIRST_STEP
from app.chat.tokens import TokenReader
from app.errors import NotFoundError, OverloadedError
from app.http.answers import dump
from app.http.application import application
from app.http.chat_failures import failure_of
from app.http.keys import REPLAYED
from app.http.problems import AWAY, answer_error
from app.http.resource import EVENT_STREAM
from app.http.starting import take_run
from app.http.streaming import RETRY_AFTER_S, STREAM_S
from app.http.waiting import accept_run, read_preference, room
from app.runs.model import RunStatus
from app.runs.service import STOPS_A_WAIT, is_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from app.chat.tokens import Piece
    from app.http.starting import Begun, Taken
    from app.http.waiting import WaitingRoom
    from app.runs.listening import Waiter
    from app.runs.model import RunView
    from app.runs.service import RunService

logger = logging.getLogger(__name__)

HEARTBEAT_S = 15.0
LOOK_UP_S = 1.0  # how long a stream goes on without looking whether the process is asked to stop


def wants_stream(body: dict[str, Any]) -> bool:
    """Whether the caller asks for events, in the body or by `Accept`."""
    offered = ["application/json", EVENT_STREAM]
    return bool(body.get("stream")) or request.accept_mimetypes.best_match(offered) == EVENT_STREAM


def stream_chat(start: Callable[[Connection | None], Begun]) -> Response:
    """Start a chat, or find the one its key started, and stream its answer.

    Raises:
        OverloadedError: half of the web threads wait already; nothing was started.
    """
    waiting_room = room()
    if not waiting_room.try_enter():
        raise OverloadedError("Too many readers wait for answers at the moment.", retry_after_s=RETRY_AFTER_S)
    try:
        taken = take_run(start)
        following = _Following(application().runs, taken, waiting_room, time.monotonic() + _patience_s())
        reader = None if taken.replayed else TokenReader(application().redis_text, taken.run_id)
        response = Response(
            stream_with_context(_lines(following, reader)), content_type=f"{EVENT_STREAM}; charset=utf-8"
        )
    except BaseException:
        waiting_room.leave()
        raise
    response.call_on_close(waiting_room.leave)
    response.headers["X-Accel-Buffering"] = "no"
    response.headers["X-Task-Id"] = taken.run_id
    response.headers.update(REPLAYED if taken.replayed else {})
    return response


def _patience_s() -> float:
    preference = read_preference(STREAM_S)
    return preference.wait_s if preference.applied else float(STREAM_S)


@dataclass
class _Following:
    """One reader of one chat."""

    runs: RunService
    taken: Taken
    waiting_room: WaitingRoom
    ends_at: float
    told: bool = False
    view: RunView | None = None
    quiet_since: float = field(default_factory=time.monotonic)

    def pieces(self, pieces: list[Piece]) -> Iterator[bytes]:
        """Write pieces; a try that begins anew is told only to who has heard of an earlier one."""
        for piece in pieces:
            if piece.text is None and self.told:
                yield _event("restart", b"{}")
            elif piece.text:
                yield _event("token", dump({"text": piece.text}))
            self.told = piece.text is not None and (self.told or bool(piece.text))
        if pieces:
            self.quiet_since = time.monotonic()

    def has_ended(self) -> bool:
        """Look whether the answer is there."""
        self.view = self.runs.read_with_step(self.taken.run_id, FIRST_STEP)
        return self.view is None or self.view.status.ended or is_over(self.view)

    def must_leave(self, waiter: Waiter | None) -> bool:
        """Whether this reader has to be told to look elsewhere."""
        out_of_time = time.monotonic() >= self.ends_at or self.waiting_room.closing
        paused = self.view is not None and self.view.status in STOPS_A_WAIT
        return waiter is None or out_of_time or paused

    def heartbeat(self) -> Iterator[bytes]:
        """Write something now and then, so that a connection that is gone is noticed."""
        if time.monotonic() - self.quiet_since >= HEARTBEAT_S:
            self.quiet_since = time.monotonic()
            yield b": still here\n\n"


def _lines(following: _Following, reader: TokenReader | None) -> Iterator[bytes]:
    yield b": begun\n\n"
    try:
        yield from _follow(following, reader)
    except AWAY as error:
        logger.warning("the stream of chat %s broke off: %s", following.taken.run_id, error)
        yield _event("error", answer_error(error).get_data())


def _follow(following: _Following, reader: TokenReader | None) -> Iterator[bytes]:
    with following.runs.watch(following.taken.run_id) as waiter:
        while True:
            pieces = reader.read() if reader is not None else []
            yield from following.pieces(pieces)
            if not pieces or pieces[-1].is_last:  # while pieces come, the journal need not be asked
                if following.has_ended():
                    yield from following.pieces(reader.read() if reader is not None else [])
                    yield _last(following)
                    return
                if waiter is None or following.must_leave(waiter):
                    status = following.view.status if following.view is not None else RunStatus.QUEUED
                    yield _event("accepted", accept_run(following.taken.run_id, status, {}, {}).get_data())
                    return
            yield from following.heartbeat()
            if waiter is not None:
                waiter.wait(LOOK_UP_S)


def _last(following: _Following) -> bytes:
    view = following.view
    if view is None:  # deleted while somebody waited for it: months ago, or by hand
        return _event("error", answer_error(NotFoundError("There is no such run.", code="run_not_found")).get_data())
    answer = answer_first(view)
    if answer is None:
        return _event("error", answer_error(failure_of(view)).get_data())
    return _event("done", dump(answer))


def _event(name: str, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), data)
