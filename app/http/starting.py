"""Start a run for a caller: once per key, waiting as long as wished."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from app.http.answers import answer_json
from app.http.application import application
from app.http.keys import REPLAYED, keyed_request, replay
from app.http.problems import BROKER_AWAY
from app.http.waiting import answer_run
from app.idempotency.model import Outcome
from app.runs.model import Started

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Response
    from sqlalchemy import Connection

    from app.idempotency.model import KeyedRequest

    Start = Callable[[Connection | None], Started | dict[str, Any]]


logger = logging.getLogger(__name__)


def start_and_answer(start: Start, default_wait_s: float) -> Response:
    """Start a run, or find the one its key started, and answer as `Prefer` asks.

    Args:
        start: writes the run through the connection it is given, or with one of its own; it may also give
            an answer of its own when there is nothing to run.
        default_wait_s: how long to wait when the caller says nothing.

    Raises:
        OverloadedError: the queues are full.
        ConflictError: the key was used with another body.
    """
    keyed = keyed_request()
    if keyed is not None:
        return _start_keyed(keyed, start, default_wait_s)
    check_capacity()
    made = start(None)
    if isinstance(made, Started):
        return answer_run(made.run_id, made.status, default_wait_s)
    return answer_json(made)


def check_capacity() -> None:
    """Refuse new work while the queues are full.

    With the broker away nobody knows how full they are; a run is stored all the same, and sent when it is back.
    """
    try:
        application().runs.check_capacity()
    except BROKER_AWAY:
        logger.warning("the broker is away; a run is taken without looking at the queues")


def _start_keyed(keyed: KeyedRequest, start: Start, default_wait_s: float) -> Response:
    begun: list[Started] = []

    def once(connection: Connection) -> Outcome:
        check_capacity()
        made = start(connection)
        if not isinstance(made, Started):
            return Outcome(status=HTTPStatus.OK, response=made)
        begun.append(made)
        return Outcome(run_id=made.run_id)

    outcome = application().idempotency.start_once(keyed, once)
    for started in begun:
        application().runs.publish(started)
    if outcome.run_id is None:
        return replay(outcome) if outcome.replayed else answer_json(outcome.response)
    response = answer_run(outcome.run_id, begun[0].status if begun else None, default_wait_s)
    if outcome.replayed:
        response.headers.update(REPLAYED)
    return response
