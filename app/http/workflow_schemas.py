"""What workflows look like over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from marshmallow import INCLUDE, Schema, ValidationError, fields, validate

from app.http.options import RunOptionsSchema
from app.http.schemas import AnswerSchema, Dollars, RunAnswerSchema, TolerantSchema

if TYPE_CHECKING:
    from decimal import Decimal


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


class QueryDollars(Dollars):
    """An amount of dollars in a query, where every value is a text."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Decimal:
        try:
            amount = float(value)
        except (TypeError, ValueError):
            raise ValidationError("Must be a number of dollars.") from None
        return super()._deserialize(amount, attr, data, **kwargs)


class TemplateOptionsSchema(RunOptionsSchema):
    """The options of a template, whose body is all variables."""

    max_cost_usd = QueryDollars(
        allow_none=True, metadata={"type": "number", "minimum": 0, "description": "A hard cap."}
    )


class TemplateVariablesSchema(Schema):
    """A template's variables: every field of the body is one; GET /templates says which it needs."""

    class Meta:
        """What to do with unknown fields."""

        unknown = INCLUDE


class TemplateAnswerSchema(WorkflowAnswerSchema):
    """What a template came to."""

    degraded = fields.List(
        fields.String(), metadata={"description": "What was left out because nothing here can make it."}
    )


class TemplateVariableSchema(AnswerSchema):
    """A variable a template takes."""

    name = fields.String(required=True)
    description = fields.String(required=True)
    required = fields.Boolean(required=True)
    default = fields.Raw(required=True, allow_none=True)


class TemplateSchema(AnswerSchema):
    """A template."""

    name = fields.String(required=True)
    description = fields.String(required=True)
    steps = fields.Integer(required=True, metadata={"description": "Blocks that follow each other."})
    variables = fields.List(fields.Nested(TemplateVariableSchema), required=True)


class TemplatesSchema(AnswerSchema):
    """The templates."""

    templates = fields.List(fields.Nested(TemplateSchema), required=True)
    count = fields.Integer(required=True)


class PricesSchema(AnswerSchema):
    """Dollars a million tokens, or an image, or a second of film; null where a model has no such price."""

    in_ = fields.Float(data_key="in", required=True, allow_none=True)
    out = fields.Float(required=True, allow_none=True)
    cache_write_5m = fields.Float(required=True, allow_none=True)
    cache_write_1h = fields.Float(required=True, allow_none=True)
    cache_read = fields.Float(required=True, allow_none=True)
    per_image = fields.Float()
    per_second = fields.Float()


class ModelSchema(AnswerSchema):
    """A model by its logical name."""

    name = fields.String(required=True)
    aliases = fields.List(fields.String(), required=True)
    provider = fields.String(required=True, metadata={"description": "Who would serve a call now."})
    model = fields.String(required=True, metadata={"description": "The provider's id."})
    purpose = fields.String(required=True)
    kind = fields.String(required=True, validate=validate.OneOf(["chat", "image", "video", "embedding"]))
    prices = fields.Nested(PricesSchema, required=True)
    available = fields.Boolean(required=True)
    stand_in = fields.String(required=True, allow_none=True, metadata={"description": "The model that answers for it."})
    missing = fields.List(
        fields.String(), required=True, metadata={"description": "Settings of which one would make it available."}
    )
    retires_on = fields.Date(required=True, allow_none=True)
    warnings = fields.List(fields.String(), required=True)


class ModelsSchema(AnswerSchema):
    """The models."""

    models = fields.List(fields.Nested(ModelSchema), required=True)
    count = fields.Integer(required=True)


class AddonsSchema(AnswerSchema):
    """The addons' names."""

    addons = fields.List(fields.String(), required=True)
    count = fields.Integer(required=True)


class AddonSchema(AnswerSchema):
    """An addon."""

    name = fields.String(required=True)
    purpose = fields.String(required=True)
    group = fields.String(required=True)
    instructions = fields.List(fields.String(), required=True)
