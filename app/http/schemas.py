"""Fields and schemas that several resources share."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from marshmallow import EXCLUDE, RAISE, Schema, ValidationError, fields, post_load, validate

from app.http.answers import PAGE_SIZE, PAGE_SIZE_MAX
from app.runs.model import Priority, RunStatus

PAGE_MAX = 1_000_000
INTEGER_MAX = 2**31 - 1
"""What an integer column holds; a larger number is refused here and not by the database."""

DOLLARS_MAX = Decimal(1_000_000_000)
KEY_LENGTH = 255


class TolerantSchema(Schema):
    """A body of one of the users' own routes: fields we do not know are passed over."""

    class Meta:
        """What to do with unknown fields."""

        unknown = EXCLUDE


class StrictSchema(Schema):
    """A body of a new route: a misspelt field is refused."""

    class Meta:
        """What to do with unknown fields."""

        unknown = RAISE


class AnswerSchema(Schema):
    """What we answer; only read for the documents."""


class WholeNumber(fields.Integer):
    """A whole number: digits in a text are taken, as callers send them; true, false and fractions are not."""

    def __init__(self, low: int = 0, high: int = INTEGER_MAX, **kwargs: Any) -> None:
        super().__init__(validate=validate.Range(min=low, max=high), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
            raise self.make_error("invalid", input=value)
        try:
            return super()._deserialize(value, attr, data, **kwargs)
        except (OverflowError, ValueError):
            raise self.make_error("invalid", input=value) from None


class Dollars(fields.Field[Decimal]):
    """An amount of dollars, a JSON number of 0 or more."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Decimal:
        del attr, data, kwargs
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValidationError("Must be a number of dollars.")
        amount = Decimal(str(value))
        if not 0 <= amount <= DOLLARS_MAX:
            raise ValidationError(f"Must be from 0 to {DOLLARS_MAX} dollars.")
        return amount


class Instant(fields.AwareDateTime):
    """A moment, brought to UTC; without a zone it is taken for UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        try:
            # The database knows no zones as far out as Python does, and no moment before the year 1.
            return super()._deserialize(value, attr, data, **kwargs).astimezone(UTC)
        except OverflowError:
            raise self.make_error("invalid", input=value, obj_type="datetime") from None


class KeyHeaderSchema(Schema):
    """The header that every POST understands."""

    idempotency_key = fields.String(
        data_key="Idempotency-Key",
        validate=validate.Regexp(
            rf"^[!-~][ -~]{{0,{KEY_LENGTH - 1}}}$", error="Must be 1 to 255 printable ASCII characters."
        ),
        metadata={"description": "The same key and body get the same answer, for 24 hours."},
    )


class RunHeadersSchema(KeyHeaderSchema):
    """The headers that a POST which starts a run understands."""

    prefer = fields.String(
        data_key="Prefer",
        metadata={"description": "respond-async: 202 at once; wait=N: wait N seconds, at most 280."},
    )


class PageQuerySchema(Schema):
    """Which part of a list; a page larger than allowed is cut, not refused."""

    page = WholeNumber(low=1, high=PAGE_MAX, load_default=1)
    page_size = WholeNumber(low=1, load_default=PAGE_SIZE, metadata={"description": "More than 200 is cut."})

    @post_load
    def cut(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Bring the page's size under its limit."""
        data["page_size"] = min(data["page_size"], PAGE_SIZE_MAX)
        return data


class NoBodySchema(StrictSchema):
    """A body that may be left out and holds nothing."""


class IgnoredBodySchema(TolerantSchema):
    """A body whose content does not matter."""


class ProblemSchema(AnswerSchema):
    """An error (RFC 9457)."""

    type = fields.String(required=True)
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True, metadata={"description": "A sentence for a person."})
    code = fields.String(required=True, metadata={"description": "A stable slug."})
    errors = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        required=True,
        metadata={"description": "Field (dotted path, or a place in a document) to messages."},
    )
    request_id = fields.String(required=True)


class CostSchema(AnswerSchema):
    """What a run has cost."""

    tokens = fields.Integer(required=True)
    dollars = fields.Float(required=True)


class AcceptedSchema(AnswerSchema):
    """A run that goes on."""

    task_id = fields.String(required=True)
    status = fields.String(required=True, validate=validate.OneOf([status.value for status in RunStatus]))
    status_url = fields.String(required=True)
    events_url = fields.String(required=True)
    joined = fields.Boolean(metadata={"description": "Only, and true, for a batch that joined a running one."})


class RunAnswerSchema(AnswerSchema):
    """What every answer of a run carries."""

    task_id = fields.String()
    cost = fields.Nested(CostSchema)


PRIORITIES = [priority.value for priority in Priority]
