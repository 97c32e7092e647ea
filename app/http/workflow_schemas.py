"""What workflows look like over HTTP."""

from __future__ import annotations

from marshmallow import fields, validate

from app.http.options import RunOptionsSchema
from app.http.schemas import AnswerSchema, RunAnswerSchema, TolerantSchema


class WorkflowRequestSchema(TolerantSchema, RunOptionsSchema):
    """A document and its variables."""

    workflow = fields.Raw(
        required=True,
        metadata={"type": "array", "items": {"type": "object"}},
    )
    variables = fields.Raw(
        load_default=None,
        allow_none=True,
        metadata={"description": "Name to value; {name} stands for it."},
    )


class StepErrorSchema(AnswerSchema):
    """Why a step did not end well."""

    step = fields.String(required=True)
    code = fields.String(required=True)
    message = fields.String(required=True)
    explanation = fields.String(allow_none=True)


class EstimateStepSchema(AnswerSchema):
    """What one step would take."""

    key = fields.String(required=True)
    kind = fields.String(required=True)
    model = fields.String(required=True, allow_none=True)
    estimated_dollars = fields.Float(required=True)
    estimated_seconds = fields.Float(required=True)


class EstimateSchema(AnswerSchema):
    """What the whole would take."""

    dollars_p50 = fields.Float()
    dollars_p90 = fields.Float()
    seconds_p50 = fields.Float()
    seconds_p90 = fields.Float()


class DryRunSchema(AnswerSchema):
    """The fields of a dry run's answer."""

    dry_run = fields.Boolean(metadata={"description": "Only, and true, where a dry run was asked for."})
    steps = fields.List(fields.Nested(EstimateStepSchema))
    estimated = fields.Nested(EstimateSchema)
    missing = fields.List(fields.String(), metadata={"description": "Settings that are missing for a real run."})


class WorkflowAnswerSchema(RunAnswerSchema, DryRunSchema):
    """What a workflow came to."""

    status = fields.String(validate=validate.OneOf(["completed", "partial", "failed", "cancelled"]))
    result = fields.Dict(metadata={"description": "Every variable by name, those given and those made."})
    execution_time = fields.Float(metadata={"description": "Seconds."})
    errors = fields.List(fields.Nested(StepErrorSchema))
