"""Wait for a run as long as the caller wishes and the web threads allow, then answer."""

from __future__ import annotations

import logging
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from flask import current_app, request

from app.http.answers import answer_json
from app.http.application import application
from app.http.problems import AWAY
from app.runs.model import RunStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flask import Response

    from app.runs.model import RunView

logger = logging.getLogger(__name__)

EXTENSION = "batuta.waiting"
WAIT_MAX_S = 280.0
LOOK_UP_S = 1.0
"""How long a wait goes on without looking whether the process is asked to stop."""

_WAIT = re.compile(r'wait\s*=\s*"?(\d{1,9})"?', re.IGNORECASE)


@dataclass(frozen=True)
class Preference:
    """How long the caller wants to wait.

    Args:
        wait_s: 0 answers at once.
        applied: what of the `Prefer` header was honoured, for `Preference-Applied`.
    """

    wait_s: float
    applied: str = ""


class WaitingRoom:
    """Count the web threads that only wait, so that some are always left for others.

    Args:
        places: threads that may wait at once; half of all.
    """

    def __init__(self, places: int) -> None:
        self._places = threading.BoundedSemaphore(max(1, places))
        self._closing = threading.Event()

    @property
    def closing(self) -> bool:
        """Whether the process is about to stop."""
        return self._closing.is_set()

    def close(self) -> None:
        """Send everybody home, with where to look for what they wait for; nobody may enter any more."""
        self._closing.set()

    def try_enter(self) -> bool:
        """Take a place when one is free; it must then be left."""
        return not self.closing and self._places.acquire(blocking=False)

    def leave(self) -> None:
        """Give the place back."""
        self._places.release()

    @contextmanager
    def entered(self) -> Iterator[bool]:
        """Hold a place for a while; yields False, and holds none, when all are taken."""
        entered = self.try_enter()
        try:
            yield entered
        finally:
            if entered:
                self.leave()


def read_preference(default_s: float) -> Preference:
    """Read `Prefer` (RFC 7240); what it says in ways we do not know is passed over, as that document asks.

    Args:
        default_s: the route's own wait.
    """
    wishes = [wish.strip() for line in request.headers.getlist("Prefer") for wish in line.split(",")]
    asynchronous = any(wish.lower() == "respond-async" for wish in wishes)
    waits = [match for wish in wishes if (match := _WAIT.fullmatch(wish))]
    applied = ["respond-async"] if asynchronous else []
    if not waits:
        return Preference(0.0 if asynchronous else default_s, ", ".join(applied))
    wait_s = min(float(waits[0].group(1)), WAIT_MAX_S)
    return Preference(wait_s, ", ".join([*applied, f"wait={wait_s:.0f}"]))


def wait_for_run(run_id: str, wait_s: float) -> RunView | None:
    """Wait for a run's end.

    Returns:
        The ended run; None while it goes on, has paused for money, or when too many web threads wait already.
    """
    return wait_in_room(partial(application().runs.wait_for_end, run_id), wait_s)


def wait_in_room(wait: Callable[[float], RunView | None], wait_s: float) -> RunView | None:
    """Wait in one of the places for those who wait.

    Args:
        wait: waits for some seconds; None when what it waits for has not come.
        wait_s: in all.
    """
    if wait_s <= 0:
        return None
    waiting_room, now = room(), time.monotonic()
    ends_at = now + wait_s
    with waiting_room.entered() as entered:
        while entered and not waiting_room.closing and now < ends_at:
            look_up_at = min(now + LOOK_UP_S, ends_at)
            view = wait(look_up_at - now)
            now = time.monotonic()
            if view is not None or now < look_up_at:  # None before its time: it paused, or too many wait
                return view
    return None


def answer_run(run_id: str, status: RunStatus | None, default_s: float, extra: Mapping[str, Any]) -> Response:
    """Answer with the run's result, or with 202 and where to look when it goes on.

    Args:
        run_id: a run that is stored.
        status: what it is known to be; None looks.
        default_s: the route's own wait.
        extra: fields of the answer beside the run's own.
    """
    preference = read_preference(default_s)
    headers = {"Preference-Applied": preference.applied} if preference.applied else {}
    try:
        view = wait_for_run(run_id, preference.wait_s)
        if view is not None:
            return answer_json({**application().answers.shape(view), **extra}, headers=headers)
        if status is None or preference.wait_s > 0:
            # Whoever started or joined the run may know where it stands, so no owner is asked for.
            status = application().runs.get_run(run_id, owner=None).status
    except AWAY:
        # The run is safe in the journal: the caller must learn its id, not send it a second time.
        logger.warning("run %s is stored, but a server went away while its caller waited", run_id)
    return accept_run(run_id, status or RunStatus.QUEUED, extra, headers)


def accept_run(run_id: str, status: RunStatus, extra: Mapping[str, Any], headers: Mapping[str, str]) -> Response:
    """Answer 202: where the run stands, and where to look for its end."""
    address = f"/runs/{run_id}"
    accepted = {"task_id": run_id, "status": status, "status_url": address, "events_url": f"{address}/events", **extra}
    return answer_json(accepted, HTTPStatus.ACCEPTED, {"Location": address, **headers})


def room() -> WaitingRoom:
    """Give the process's waiting room."""
    return cast("WaitingRoom", current_app.extensions[EXTENSION])
