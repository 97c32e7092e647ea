"""Runs: look at them, wait for them, steer them."""

from __future__ import annotations

import re
import uuid
from typing import Any

from flask import Response

from app.errors import NotFoundError
from app.http.answers import answer_json, page_headers
from app.http.application import application, identity
from app.http.resource import EVENT_STREAM, Resource, Route
from app.http.run_schemas import (
    ApprovalSchema,
    BudgetSchema,
    EventsHeaderSchema,
    RunSchema,
    RunsQuerySchema,
    RunSummarySchema,
    WaitQuerySchema,
    show_run,
    show_summary,
)
from app.http.schemas import NoBodySchema
from app.http.streaming import stream_events
from app.http.waiting import WAIT_MAX_S, wait_for_run
from app.runs.model import RunView

resource = Resource("runs", "Everything that runs or ran, whatever started it.")
_STEP_KEY = re.compile(r"[A-Za-z0-9_.-]{1,160}")
_SEQUENCE = re.compile(r"\d{1,9}")


@resource.serves(Route(path="/runs", answer=RunSummarySchema, many=True, query=RunsQuerySchema, paged=True))
def list_runs(query: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """List runs, newest first."""
    page = application().runs.list_runs(owner=identity().sees, **query)
    return [show_summary(view) for view in page.items], page_headers(page.total, query["page"], query["page_size"])


@resource.serves(Route(path="/runs/<run_id>", answer=RunSchema))
def get_run(run_id: str) -> dict[str, Any]:
    """Show a run with its steps and, once it has ended, its result."""
    return show(readable(run_id))


@resource.serves(Route(path="/runs/<run_id>/events", media=EVENT_STREAM, headers=EventsHeaderSchema, problems=(503,)))
def follow_events(run_id: str, headers: dict[str, Any]) -> Response:
    """Follow a run's events as they happen (server-sent events); `Last-Event-ID` goes on where a reader left off."""
    view = readable(run_id)
    last = headers.get("last_event_id", "")
    return stream_events(view.run_id, int(last) if _SEQUENCE.fullmatch(last) else 0)


@resource.serves(Route(path="/runs/<run_id>/wait", answer=RunSchema, query=WaitQuerySchema, also={202: RunSchema}))
def wait_for_end(run_id: str, query: dict[str, Any]) -> Response:
    """Wait for a run's end: 200 with the ended run, 202 with the run as it stands when the time is over."""
    view = readable(run_id)
    if not view.status.ended:
        wait_for_run(view.run_id, min(float(query["timeout"]), WAIT_MAX_S))
        view = readable(run_id)
    return answer_json(show(view), 200 if view.status.ended else 202)


@resource.serves(Route(path="/runs/<run_id>/steps/<key>/approve", method="POST", body=ApprovalSchema, answer=RunSchema))
def approve_step(run_id: str, key: str, body: dict[str, Any]) -> dict[str, Any]:
    """Answer the question of a step that waits for a person."""
    if not _STEP_KEY.fullmatch(key):
        raise NotFoundError("There is no such step.", code="step_not_found")
    view = application().runs.approve_step(
        known(run_id), key, body["approved"], body.get("value"), body.get("note"), owner=identity().sees
    )
    return show(view)


@resource.serves(Route(path="/runs/<run_id>/cancel", method="POST", body=NoBodySchema, answer=RunSchema))
def cancel_run(run_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Stop a run; what runs now is asked to stop, what waits is not begun."""
    del body
    return show(application().runs.cancel_run(known(run_id), owner=identity().sees))


@resource.serves(Route(path="/runs/<run_id>/pause", method="POST", body=NoBodySchema, answer=RunSchema))
def pause_run(run_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Begin no further step until the run is resumed."""
    del body
    return show(application().runs.pause_run(known(run_id), owner=identity().sees))


@resource.serves(Route(path="/runs/<run_id>/resume", method="POST", body=NoBodySchema, answer=RunSchema))
def resume_run(run_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Let a paused run go on."""
    del body
    return show(application().runs.resume_run(known(run_id), owner=identity().sees))


@resource.serves(Route(path="/runs/<run_id>/retry", method="POST", body=NoBodySchema, answer=RunSchema))
def retry_run(run_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Try the failed steps of an ended run again, under the same id; answers that were paid for are kept."""
    del body
    return show(application().runs.retry_run(known(run_id), owner=identity().sees))


@resource.serves(Route(path="/runs/<run_id>/budget", method="POST", body=BudgetSchema, answer=RunSchema))
def set_budget(run_id: str, body: dict[str, Any]) -> dict[str, Any]:
    """Set a run's cap anew; one that paused for money goes on when the cap allows it."""
    return show(application().runs.set_budget(known(run_id), body["max_cost_usd"], owner=identity().sees))


def show(view: RunView) -> dict[str, Any]:
    """Shape a run, with its result when it has ended."""
    return show_run(view, application().answers.shape(view) if view.status.ended else None)


def readable(run_id: str) -> RunView:
    """Give a run the caller may read: its own, any for an administrator, or a batch it joined.

    Raises:
        NotFoundError: there is none, or none for this caller.
    """
    caller = identity()
    view = application().runs.get_run(known(run_id), owner=None)
    if caller.is_admin or view.owner == caller.owner:
        return view
    if view.kind == "daily_batch" and application().studio.may_read_run(view.run_id, caller.owner):
        return view
    raise NotFoundError("There is no such run.", code="run_not_found")


def known(run_id: str) -> str:
    """Give the id in the one form that ids have.

    Raises:
        NotFoundError: it is no id, so that there can be no run of that name.
    """
    try:
        return str(uuid.UUID(run_id))
    except ValueError:
        raise NotFoundError("There is no such run.", code="run_not_found") from None
