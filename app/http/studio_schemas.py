"""What the studio looks like over HTTP."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, fields, pre_load, validate

from app.http.options import RunOptionsSchema
from app.http.schemas import AnswerSchema, PageQuerySchema, RunAnswerSchema, StrictSchema, TolerantSchema, WholeNumber
from app.http.workflow_schemas import DryRunSchema
from app.studio.model import (
    MAX_ATTRIBUTES,
    MAX_ID_CHARS,
    MAX_IDEAS,
    MAX_NAME_CHARS,
    MAX_PROMPTS,
    MAX_RENDERER_CHARS,
    MAX_SKELETON_CHARS,
    MAX_STRUCTURES_A_REQUEST,
    MAX_URL_CHARS,
    read_attributes,
    read_structure_id,
)

DEFAULT_MANUAL_PROMPTS = 12
IDEA_STATUSES = ["proposed", "approved", "declined"]
LIKE_STATUSES = ["recorded", "threshold_reached", "queued", "duplicate"]
NUMBER_OR_TEXT = {"type": ["integer", "string"], "maxLength": MAX_ID_CHARS}


class StructureId(fields.Field[str]):
    """A structure's id: a number or a text, kept as text.

    Args:
        blank: an empty text is let through, for whoever reads it as none.
    """

    def __init__(self, *, blank: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._blank = blank

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        del attr, data, kwargs
        if self._blank and value == "":
            return ""
        try:
            return read_structure_id(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None


class Attributes(fields.Field[dict[str, Any]]):
    """A structure's attributes: names to texts, numbers or flags."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        del attr, data, kwargs
        if not isinstance(value, dict):
            raise ValidationError("Must be an object.")
        try:
            return read_attributes(value)
        except ValueError as error:
            raise ValidationError(str(error)) from None


def _renderer() -> fields.String:
    return fields.String(allow_none=True, validate=validate.Length(max=MAX_RENDERER_CHARS))


class DailyBatchRequestSchema(TolerantSchema, RunOptionsSchema):
    """What a daily batch shall make; all of it may be left out."""

    force_retrain = fields.Boolean(load_default=False)
    num_ideas = WholeNumber(high=MAX_IDEAS, allow_none=True)
    num_prompts = WholeNumber(high=MAX_PROMPTS, allow_none=True)
    renderer = _renderer()


class ManualRequestSchema(TolerantSchema, RunOptionsSchema):
    """What a manual generation shall make."""

    num_prompts = WholeNumber(low=1, high=MAX_PROMPTS, load_default=DEFAULT_MANUAL_PROMPTS)
    renderer = _renderer()
    force_retrain = fields.Boolean(load_default=False)


class LikeRequestSchema(TolerantSchema):
    """A like; at least one of the fields says what was liked."""

    record_id = fields.String(allow_none=True, validate=validate.Length(max=MAX_NAME_CHARS))
    structure_id = StructureId(blank=True, allow_none=True, metadata=NUMBER_OR_TEXT)
    image_url = fields.String(allow_none=True, validate=validate.Length(max=MAX_URL_CHARS))


class StructureRequestSchema(StrictSchema):
    """A structure to store."""

    structure_id = StructureId(required=True, metadata=NUMBER_OR_TEXT)
    record_id = fields.String(allow_none=True, validate=validate.Length(max=MAX_ID_CHARS))
    skeleton = fields.String(required=True, validate=validate.Length(min=1, max=MAX_SKELETON_CHARS))
    renderer = _renderer()
    attributes = Attributes(
        load_default=dict,
        metadata={
            "type": "object",
            "maxProperties": MAX_ATTRIBUTES,
            "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
        },
    )
    status = fields.String(allow_none=True, validate=validate.Length(max=40))


class StructuresRequestSchema(StrictSchema):
    """Structures to store, all or none; a bare array of them is taken too."""

    structures = fields.List(
        fields.Nested(StructureRequestSchema),
        required=True,
        validate=validate.Length(min=1, max=MAX_STRUCTURES_A_REQUEST),
    )

    @pre_load
    def wrap_array(self, data: Any, **_: Any) -> Any:
        """Read a bare array as the object around it."""
        return {"structures": data} if isinstance(data, list) else data


class IdeasQuerySchema(PageQuerySchema):
    """Which ideas to list."""

    status = fields.String(validate=validate.OneOf(IDEA_STATUSES))


class BatchAnswerSchema(RunAnswerSchema, DryRunSchema):
    """What a daily batch came to."""

    success = fields.Boolean()
    retrain_triggered = fields.Boolean()
    ideas_generated = fields.Integer()
    prompts_generated = fields.Integer()
    prompts_written = fields.Integer()
    summary = fields.String()
    error = fields.String(allow_none=True)
    degraded = fields.List(fields.String())
    joined = fields.Boolean(metadata={"description": "Only, and true, for a batch that joined a running one."})


class ManualAnswerSchema(RunAnswerSchema, DryRunSchema):
    """What a manual generation came to."""

    success = fields.Boolean()
    retrain_triggered = fields.Boolean()
    prompts_generated = fields.Integer()
    prompts_written = fields.Integer()
    renderer = fields.String(allow_none=True)
    degraded = fields.List(fields.String())
    error = fields.String(allow_none=True)


class LikeAnswerSchema(AnswerSchema):
    """What came of a like."""

    status = fields.String(required=True, validate=validate.OneOf(LIKE_STATUSES))
    likes_since_last_retrain = fields.Integer(required=True)
    threshold = fields.Integer(required=True)
    threshold_reached = fields.Boolean(required=True)
    retrain_triggered = fields.Boolean(required=True)
    message = fields.String(required=True)


class RetrainRequestSchema(TolerantSchema, RunOptionsSchema):
    """How a learning cycle shall be done; all of it may be left out."""


class RetrainAnswerSchema(DryRunSchema):
    """A learning cycle that was started."""

    status = fields.String(validate=validate.OneOf(["triggered"]))
    message = fields.String()
    task_id = fields.String()


class ResetAnswerSchema(AnswerSchema):
    """A counter set back."""

    status = fields.String(required=True)
    likes_since_last_retrain = fields.Integer(required=True)


class StructureSchema(AnswerSchema):
    """A structure, with the score that serves."""

    structure_id = fields.String(required=True)
    record_id = fields.String(required=True, allow_none=True)
    skeleton = fields.String(required=True)
    renderer = fields.String(required=True)
    attributes = fields.Dict(required=True)
    status = fields.String(required=True)
    source = fields.String(required=True)
    parent = fields.String(required=True, allow_none=True)
    created_at = fields.DateTime(required=True, allow_none=True)
    score = fields.Float(required=True, allow_none=True)
    model_version = fields.String(required=True, allow_none=True)


class ContributionSchema(AnswerSchema):
    """How much a feature moved a score."""

    feature = fields.String(required=True)
    contribution = fields.Float(required=True)


class PastScoreSchema(AnswerSchema):
    """A score as it was."""

    at = fields.DateTime(required=True)
    score = fields.Float(required=True)
    model_version = fields.String(required=True)


class ScoredStructureSchema(StructureSchema):
    """A structure with where its score comes from."""

    liked = fields.Integer(required=True)
    shown = fields.Integer(required=True)
    explanation = fields.List(fields.Nested(ContributionSchema), required=True)
    history = fields.List(fields.Nested(PastScoreSchema), required=True)


class SyncedSchema(AnswerSchema):
    """How many of each were read from Airtable; null for what it does not keep."""

    structures = fields.Integer(required=True, allow_none=True)
    removed = fields.Integer(required=True, allow_none=True)
    designers = fields.Integer(required=True, allow_none=True)
    garments = fields.Integer(required=True, allow_none=True)


class IdeaSchema(AnswerSchema):
    """A proposed structure."""

    idea_id = fields.String(required=True)
    skeleton = fields.String(required=True)
    renderer = fields.String(required=True)
    attributes = fields.Dict(required=True)
    status = fields.String(required=True, validate=validate.OneOf(IDEA_STATUSES))
    parent = fields.String(required=True, allow_none=True)
    source = fields.String(required=True)
    structure_id = fields.String(required=True, allow_none=True, metadata={"description": "What it became."})
    created_at = fields.DateTime(required=True)
    decided_at = fields.DateTime(required=True, allow_none=True)


class PromptSchema(AnswerSchema):
    """A prompt."""

    prompt_id = fields.String(required=True)
    task_id = fields.String(required=True)
    text = fields.String(required=True)
    renderer = fields.String(required=True)
    structure_id = fields.String(required=True, allow_none=True)
    designer = fields.String(required=True, allow_none=True)
    garment = fields.String(required=True, allow_none=True)
    explored = fields.Boolean(required=True)
    propensity = fields.Float(required=True, allow_none=True)
    source = fields.String(required=True)
    record_id = fields.String(required=True, allow_none=True, metadata={"description": "In Airtable."})
    created_at = fields.DateTime(required=True)


class BatchSchema(AnswerSchema):
    """A batch, daily or manual."""

    task_id = fields.String(required=True)
    kind = fields.String(required=True)
    status = fields.String(required=True)
    success = fields.Boolean(required=True, allow_none=True)
    scheduled_for = fields.DateTime(required=True, allow_none=True)
    started_at = fields.DateTime(required=True)
    finished_at = fields.DateTime(required=True, allow_none=True)
    request = fields.Dict(required=True)
    result = fields.Dict(required=True, allow_none=True)


class StatusSchema(AnswerSchema):
    """The state of the studio."""

    service = fields.String(required=True)
    version = fields.String(required=True)
    threshold = fields.Integer(required=True)
    exploration_rate = fields.Float(required=True)
    likes_since_last_retrain = fields.Integer(required=True)
    last_retrain_at = fields.DateTime(allow_none=True)
    last_like_at = fields.DateTime(allow_none=True)
    total_retrains = fields.Integer(required=True)
    total_likes_processed = fields.Integer(required=True)
    is_retraining = fields.Boolean(required=True)
    last_error = fields.String(allow_none=True)
    last_batch_at = fields.DateTime(allow_none=True)
    total_batches = fields.Integer(required=True)
    last_batch_result = fields.Dict(allow_none=True)
    last_generation_at = fields.DateTime(allow_none=True)
    total_generations = fields.Integer(required=True)
    last_generation_result = fields.Dict(allow_none=True)
    cached_structure_scores = fields.Dict(required=True)
    cached_scores_count = fields.Integer(required=True)
    scores_cached_at = fields.DateTime(allow_none=True)
    last_cycle = fields.Dict(allow_none=True)


class ScoresSchema(AnswerSchema):
    """The scores of all structures."""

    scores = fields.Dict(keys=fields.String(), values=fields.Float(), required=True)
    cached_at = fields.DateTime(required=True, allow_none=True)
    is_fresh = fields.Boolean(required=True, metadata={"description": "Younger than 24 hours."})
    count = fields.Integer(required=True)
    model_version = fields.String(required=True, allow_none=True)
