"""What assignments look like over HTTP."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import orjson
from marshmallow import ValidationError, fields, pre_load, validate

from app.assignments.meeting import MAX_ACTIVITIES, MAX_CANDIDATES
from app.assignments.model import (
    ID_MAX,
    ID_MIN,
    MAX_IDS_A_REQUEST,
    MAX_NAME_CHARS,
    MAX_PERSONS_A_REQUEST,
    MAX_ROLE_CHARS,
    MAX_WEIGHT,
    Result,
    check_metadata,
)
from app.assignments.ports import MlStatus
from app.assignments.reading import read_persons_csv
from app.http import bodies
from app.http.schemas import AnswerSchema, StrictSchema, TolerantSchema, WholeNumber

if TYPE_CHECKING:
    from werkzeug import Request

CSV_TYPE = "text/csv"
MAX_ROLES = 100
MAX_STATS = 5_000
FIRST_DAY, LAST_DAY = date(1900, 1, 1), date(2999, 12, 31)
OBJECT = {"type": "object"}


def _person_id(**kwargs: Any) -> WholeNumber:
    return WholeNumber(low=ID_MIN, high=ID_MAX, **kwargs)


def _role(**kwargs: Any) -> fields.String:
    return fields.String(validate=validate.Length(min=1, max=MAX_ROLE_CHARS), **kwargs)


def _name(**kwargs: Any) -> fields.String:
    return fields.String(validate=validate.Length(max=MAX_NAME_CHARS), **kwargs)


class Metadata(fields.Field[dict[str, Any]]):
    """What else is known of a person; the keys that the formula knows are checked."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Any]:
        del attr, data, kwargs
        if not isinstance(value, dict):
            raise ValidationError("Must be an object.")
        try:
            # Written and read, so that a table's metadata is held to what a JSON body is held to.
            check_metadata(value, len(orjson.dumps(value)))
            kept = bodies.parse_json(orjson.dumps(value))
        except (ValueError, TypeError, RecursionError) as error:
            raise ValidationError(str(error)) from None
        return dict(kept)


class Weight(fields.Float):
    """A weight of the formula."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=validate.Range(min=-MAX_WEIGHT, max=MAX_WEIGHT), **kwargs)


class PersonRequestSchema(StrictSchema):
    """A person to store."""

    id = _person_id(required=True)
    nombre = fields.String(required=True, validate=validate.Length(min=1, max=MAX_NAME_CHARS))
    genero = fields.String(required=True, validate=validate.OneOf(["M", "F"]))
    es_siervo = fields.Boolean(load_default=False)
    can_president = fields.Boolean(load_default=False)
    can_pray = fields.Boolean(load_default=False)
    can_conduct = fields.Boolean(load_default=False)
    can_read = fields.Boolean(load_default=False)
    metadata = Metadata(load_default=dict, allow_none=True, metadata={"type": ["object", "null"]})


class PersonsRequestSchema(StrictSchema):
    """Persons to store, all or none; a bare array is taken too, and text/csv with these names as its header."""

    persons = fields.List(
        fields.Nested(PersonRequestSchema),
        required=True,
        validate=validate.Length(min=1, max=MAX_PERSONS_A_REQUEST),
    )

    @pre_load
    def wrap_array(self, data: Any, **_: Any) -> Any:
        """Read a bare array as the object around it."""
        return {"persons": data} if isinstance(data, list) else data

    @staticmethod
    def read_body(request: Request) -> Any:
        """Read JSON, or a table.

        Raises:
            RequestError: neither of them, or too large.
        """
        if request.mimetype != CSV_TYPE:
            return bodies.read_json(request, tolerant=False)
        return {"persons": read_persons_csv(bodies.read_whole(request))}


class AssignRequestSchema(TolerantSchema):
    """A task somebody is wanted for."""

    role = _role(required=True)
    person_ids = fields.List(_person_id(), required=True, validate=validate.Length(min=1, max=MAX_IDS_A_REQUEST))
    stats = fields.Dict(
        keys=fields.String(),
        allow_none=True,
        validate=validate.Length(max=MAX_STATS),
        metadata={"description": "Person's id to metadata keys; stands over what is stored."},
    )
    weights = fields.Dict(
        keys=fields.String(), values=Weight(), allow_none=True, metadata={"description": "In place of the stored ones."}
    )


class FeedbackRequestSchema(TolerantSchema):
    """What came of an assignment."""

    role = _role(required=True)
    person_id = _person_id(required=True)
    result = fields.String(required=True, validate=validate.OneOf([Result.ACCEPTED.value, Result.CORRECTED.value]))
    alternative_id = _person_id(allow_none=True, metadata={"description": "Who would have been better."})


class CandidateSchema(TolerantSchema):
    """Somebody a meeting may use."""

    id = _person_id(required=True)
    name = _name(required=True)
    gender = fields.String(required=True, validate=validate.Length(max=40))
    roles = fields.List(_name(), required=True, validate=validate.Length(max=MAX_ROLES))
    last_assignment_weeks_ago = WholeNumber(allow_none=True)


class ActivitySchema(TolerantSchema):
    """A part of a meeting."""

    type = _role(required=True)
    title = fields.String(required=True, validate=validate.Length(max=500))
    requires_assistant = fields.Boolean(load_default=False)


class MeetingRequestSchema(TolerantSchema):
    """A meeting to fill."""

    week_date = fields.Date(required=True, validate=validate.Range(min=FIRST_DAY, max=LAST_DAY))
    candidates = fields.List(
        fields.Nested(CandidateSchema), required=True, validate=validate.Length(max=MAX_CANDIDATES)
    )
    activities = fields.List(fields.Nested(ActivitySchema), required=True, validate=validate.Length(max=MAX_ACTIVITIES))
    exclude_names = fields.List(_name(), allow_none=True, validate=validate.Length(max=MAX_CANDIDATES))
    exclude_ids = fields.List(_person_id(), allow_none=True, validate=validate.Length(max=MAX_CANDIDATES))


class PersonSchema(AnswerSchema):
    """A stored person."""

    id = fields.Integer(required=True)
    nombre = fields.String(required=True)
    genero = fields.String(required=True)
    es_siervo = fields.Boolean(required=True)
    can_president = fields.Boolean(required=True)
    can_pray = fields.Boolean(required=True)
    can_conduct = fields.Boolean(required=True)
    can_read = fields.Boolean(required=True)
    metadata = fields.Dict(required=True)
    created_at = fields.DateTime(required=True)


class RankedSchema(AnswerSchema):
    """A person's place in a ranking."""

    person_id = fields.Integer(required=True)
    score = fields.Float(required=True)
    reasons = fields.List(fields.String(), required=True)


class AssignedSchema(AnswerSchema):
    """Who should take a task."""

    person_id = fields.Integer(required=True)
    score = fields.Float(required=True)
    role = fields.String(required=True)
    model_version = fields.String(required=True)
    ranking = fields.List(fields.Nested(RankedSchema), required=True)
    skipped_ids = fields.List(fields.Integer(), required=True, metadata={"description": "Unknown ids."})
    unavailable_ids = fields.List(fields.Integer(), required=True)


class AssignAnswerSchema(AnswerSchema):
    """Who should take a task, in its envelope."""

    status = fields.String(required=True)
    data = fields.Nested(AssignedSchema, required=True)


class LearntSchema(AnswerSchema):
    """What a feedback changed."""

    status = fields.String(required=True)
    weights = fields.Dict(keys=fields.String(), values=fields.Float(), required=True)
    ml_status = fields.String(required=True, validate=validate.OneOf([status.value for status in MlStatus]))
    feedback_since_last_retrain = fields.Integer(required=True)
    threshold = fields.Integer(required=True)


class FeedbackAnswerSchema(AnswerSchema):
    """What a feedback changed, in its envelope."""

    status = fields.String(required=True)
    data = fields.Nested(LearntSchema, required=True)


class ServantSchema(AnswerSchema):
    """Somebody with a place in a meeting."""

    id = fields.Integer(required=True)
    nombre = fields.String(required=True)
    genero = fields.String(required=True)


class MeetingPartSchema(AnswerSchema):
    """An activity, filled or not, and why."""

    tema = fields.String(required=True)
    publicador = fields.Nested(ServantSchema, required=True, allow_none=True)
    ayudante = fields.Nested(ServantSchema, required=True, allow_none=True)
    reasons = fields.List(fields.String(), required=True)


class FairnessSchema(AnswerSchema):
    """How evenly a meeting treats those who could serve."""

    places = fields.Integer(required=True)
    filled = fields.Integer(required=True)
    candidates_eligible = fields.Integer(required=True)
    candidates_used = fields.Integer(required=True)
    double_duty = fields.Integer(required=True, metadata={"description": "Duties beyond a person's first."})
    mean_weeks_idle = fields.Float(required=True, allow_none=True)
    longest_idle_left_out = fields.Integer(required=True, allow_none=True)
    load_max = fields.Integer(required=True, metadata={"description": "Most duties in four weeks, this one included."})
    load_gini = fields.Float(required=True, metadata={"description": "0: all have the same load."})


class MeetingAnswerSchema(AnswerSchema):
    """A filled meeting."""

    week_date = fields.Date(required=True)
    assignments = fields.List(fields.Nested(MeetingPartSchema), required=True)
    fairness = fields.Nested(FairnessSchema, required=True)


class HistoryEntrySchema(AnswerSchema):
    """A duty that was given, or what came of one."""

    person_id = fields.Integer(required=True)
    role = fields.String(required=True)
    week_date = fields.Date(required=True)
    result = fields.String(required=True, allow_none=True, metadata={"description": "Null: given by a meeting."})
    alternative_id = fields.Integer(required=True, allow_none=True)
    created_at = fields.DateTime(required=True)


class WeightsSchema(AnswerSchema):
    """The formula's weights."""

    weights = fields.Dict(keys=fields.String(), values=fields.Float(), required=True)
    updated_at = fields.DateTime(required=True, allow_none=True)


class ConfigSchema(AnswerSchema):
    """That the service is there."""

    version = fields.String(required=True)
    status = fields.String(required=True)
