"""What runs look like over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marshmallow import fields, validate

from app.http.answers import dollars
from app.http.schemas import (
    PRIORITIES,
    AnswerSchema,
    CostSchema,
    Dollars,
    Instant,
    PageQuerySchema,
    StrictSchema,
    TolerantSchema,
    WholeNumber,
)
from app.runs.model import RunStatus

if TYPE_CHECKING:
    from app.runs.model import RunView, StepView

STATUSES = [status.value for status in RunStatus]
STEP_STATUSES = ["pending", "ready", "running", "parked", "waiting", "completed", "failed", "skipped", "cancelled"]
NAME_LENGTH = 64
NOTE_LENGTH = 10_000
WAIT_DEFAULT_S = 90


class StepSchema(AnswerSchema):
    """A step of a run."""

    key = fields.String(required=True)
    kind = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(STEP_STATUSES))
    model = fields.String(required=True, allow_none=True)
    attempts = fields.Integer(required=True)
    cached = fields.Boolean(required=True, metadata={"description": "Answered by a kept answer (`config.cache`)."})
    cost = fields.Float(required=True, metadata={"description": "Dollars."})
    started_at = fields.DateTime(required=True, allow_none=True)
    finished_at = fields.DateTime(required=True, allow_none=True)
    output = fields.Raw(required=True, allow_none=True)
    error = fields.Dict(required=True, allow_none=True)


class RunSummarySchema(AnswerSchema):
    """A run in a list."""

    task_id = fields.String(required=True)
    kind = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf(STATUSES))
    created_at = fields.DateTime(required=True)
    started_at = fields.DateTime(required=True, allow_none=True)
    finished_at = fields.DateTime(required=True, allow_none=True)
    priority = fields.String(required=True, validate=validate.OneOf(PRIORITIES))
    max_cost_usd = fields.Float(required=True, allow_none=True)
    cost = fields.Nested(CostSchema, required=True)
    error = fields.Dict(required=True, allow_none=True)


class RunSchema(RunSummarySchema):
    """A run with its steps."""

    result = fields.Dict(
        required=True,
        allow_none=True,
        metadata={"description": "What the POST would have answered; null until then."},
    )
    steps = fields.List(fields.Nested(StepSchema), required=True)


class RunsQuerySchema(PageQuerySchema):
    """Which runs to list."""

    kind = fields.String(validate=validate.Length(max=NAME_LENGTH))
    status = fields.String(validate=validate.OneOf(STATUSES))
    since = Instant(metadata={"description": "Created at this time or later."})


class WaitQuerySchema(TolerantSchema):
    """How long to wait for a run's end."""

    timeout = WholeNumber(load_default=WAIT_DEFAULT_S, metadata={"description": "Seconds; more than 280 is cut."})


class EventsHeaderSchema(TolerantSchema):
    """Where a reader of events left off."""

    last_event_id = fields.String(data_key="Last-Event-ID", validate=validate.Length(max=NAME_LENGTH))


class BudgetSchema(StrictSchema):
    """A run's new cap."""

    max_cost_usd = Dollars(
        required=True,
        metadata={"type": "number", "minimum": 0, "description": "Of the whole run."},
    )


class ApprovalSchema(StrictSchema):
    """A person's word on a step that waits for it."""

    approved = fields.Boolean(required=True)
    value = fields.Raw(allow_none=True, metadata={"description": "Becomes the step's output."})
    note = fields.String(allow_none=True, validate=validate.Length(max=NOTE_LENGTH))


def show_summary(view: RunView) -> dict[str, Any]:
    """Shape a run for a list."""
    return {
        "task_id": view.run_id,
        "kind": view.kind,
        "status": view.status,
        "created_at": view.created_at,
        "started_at": view.started_at,
        "finished_at": view.finished_at,
        "priority": view.priority,
        "max_cost_usd": dollars(view.max_cost_usd),
        "cost": {"tokens": view.tokens, "dollars": dollars(view.cost_usd)},
        "error": view.error,
    }


def show_run(view: RunView, result: dict[str, Any] | None) -> dict[str, Any]:
    """Shape a whole run.

    Args:
        view: the run.
        result: what the POST would have answered; None while it goes on.
    """
    return {**show_summary(view), "result": result, "steps": [show_step(step) for step in view.steps]}


def show_step(step: StepView) -> dict[str, Any]:
    """Shape one step."""
    return {
        "key": step.key,
        "kind": step.kind,
        "status": step.status,
        "model": step.model,
        "attempts": step.attempts,
        "cached": step.cached,
        "cost": dollars(step.cost_usd),
        "started_at": step.started_at,
        "finished_at": step.finished_at,
        "output": step.output,
        "error": step.error,
    }
