"""Start a run for a caller: once per key, waiting as long as wished."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from app.http.answers import answer_json
from app.http.application import application
from app.http.keys import REPLAYED, keyed_request, replay
from app.http.problems import BROKER_AWAY
from app.http.waiting import answer_run
from app.idempotency.model import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Response
    from sqlalchemy import Connection

    from app.idempotency.model import KeyedRequest
    from app.runs.model import RunStatus, Started

    Start = Callable[[Connection | None], "Begun"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Begun:
    """A run that was started or joined.

    Args:
        started: the run.
        publishes: it is new, so its first steps go out after the commit.
        extra: fields of the answer beside the run's own, such as `joined`.
    """

    started: Started
    publishes: bool = True
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """A run that this request, or an earlier one under its key, started.

    Args:
        status: None where an earlier request started it.
        extra: of its `Begun`.
    """

    run_id: str
    status: RunStatus | None
    extra: dict[str, Any]

    @property
    def replayed(self) -> bool:
        """Whether an earlier request started it."""
        return self.status is None


def start_and_answer(start: Start, default_wait_s: float) -> Response:
    """Start a run, or find the one its key started, and answer as `Prefer` asks.

    Args:
        start: writes the run through the connection it is given; given none, it opens one and publishes by itself.
        default_wait_s: how long to wait when the caller says nothing.

    Raises:
        OverloadedError: the queues are full.
        ConflictError: the key was used with another body.
    """
    taken = take_run(start)
    response = answer_run(taken.run_id, taken.status, default_wait_s, taken.extra)
    if taken.replayed:
        response.headers.update(REPLAYED)
    return response


def take_run(start: Start) -> Taken:
    """Start a run, or find the one its key started; arguments and errors as `start_and_answer`'s."""
    keyed = keyed_request()
    if keyed is not None:
        return _take_keyed(keyed, start)
    check_capacity()
    begun = start(None)
    return Taken(begun.started.run_id, begun.started.status, begun.extra)


def start_and_go_on(start: Start) -> Response:
    """Start a run that nobody waits for, once per key, and answer with what `Begun.extra` says of it.

    Args:
        start: as for `start_and_answer`.

    Raises:
        ConflictError: the key was used with another body.
    """
    keyed = keyed_request()
    if keyed is None:
        return answer_json(start(None).extra)
    mine: list[Begun] = []

    def once(connection: Connection) -> Outcome:
        begun = start(connection)
        mine.append(begun)
        return Outcome(run_id=begun.started.run_id, status=HTTPStatus.OK, response=begun.extra)

    outcome = application().idempotency.start_once(keyed, once)
    for begun in mine:
        application().runs.publish(begun.started)
    return answer_json(mine[0].extra) if mine else replay(outcome)


def check_capacity(connection: Connection | None = None) -> None:
    """Refuse new work while the queues are full; whoever holds a connection gives it, and takes no second one.

    With the broker away nobody knows how full they are; a run is stored all the same, and sent when it is back.
    """
    try:
        application().runs.check_capacity(connection)
    except BROKER_AWAY:
        logger.warning("the broker is away; a run is taken without looking at the queues")


def _take_keyed(keyed: KeyedRequest, start: Start) -> Taken:
    mine: list[Begun] = []

    def once(connection: Connection) -> Outcome:
        check_capacity(connection)
        begun = start(connection)
        mine.append(begun)
        return Outcome(run_id=begun.started.run_id, response=begun.extra)

    outcome = application().idempotency.start_once(keyed, once)
    for begun in mine:
        if begun.publishes:
            application().runs.publish(begun.started)
    status = mine[0].started.status if mine else None
    return Taken(str(outcome.run_id), status, outcome.response or {})
