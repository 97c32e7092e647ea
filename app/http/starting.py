"""Start a run for a caller: once per key, waiting as long as wished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.http.answers import answer_json
from app.http.application import application
from app.http.keys import REPLAYED, keyed_request, replay
from app.http.waiting import answer_run
from app.idempotency.model import Outcome
from app.runs.model import Started

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Response
    from sqlalchemy import Connection

    from app.idempotency.model import KeyedRequest

    Start = Callable[[Connection | None], Started | dict[str, Any]]


def start_and_answer(start: Start, default_wait_s: float) -> Response:
    """Start a run, or join the one its key started, and answer as `Prefer` asks.

    Args:
        start: writes the run through the connection it is given, or with one of its own; it may also give
            an answer of its own when there is nothing to run.
        default_wait_s: how long to wait when the caller says nothing.
    """
    keyed = keyed_request()
    if keyed is None:
        made = start(None)
        return answer_run(made.run_id, default_wait_s) if isinstance(made, Started) else answer_json(made)
    return _start_keyed(keyed, start, default_wait_s)


def _start_keyed(keyed: KeyedRequest, start: Start, default_wait_s: float) -> Response:
    begun: list[Started] = []

    def once(connection: Connection) -> Outcome:
        made = start(connection)
        if not isinstance(made, Started):
            return Outcome(status=200, response=made)
        begun.append(made)
        return Outcome(run_id=made.run_id)

    outcome = application().idempotency.start_once(keyed, once)
    for started in begun:
        application().runs.publish(started)
    if outcome.run_id is None:
        return replay(outcome) if outcome.replayed else answer_json(outcome.response)
    response = answer_run(outcome.run_id, default_wait_s)
    if outcome.replayed:
        response.headers.update(REPLAYED)
    return response
