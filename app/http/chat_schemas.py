"""What chats and sessions look like over HTTP."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from marshmallow import ValidationError, fields, validate

from app.assets.media import read_facts
from app.assets.model import REFERENCE
from app.chat.model import Asked, Category
from app.http.options import RunOptionsSchema
from app.http.schemas import AnswerSchema, RunAnswerSchema, StrictSchema, TolerantSchema, WholeNumber
from app.http.workflow_schemas import DryRunSchema

MOST_IMAGES = 16
MOST_CONTEXT_TOKENS = 2**53
NOTE_LENGTH = 10_000
SESSION_ID_LENGTH = 1000  # what is too long for an id is told so by the one rule for ids
_DATA_URI = re.compile(r"data:(image/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/=]+)")
_HASH = re.compile(r"[0-9a-f]{64}")


class ImageField(fields.String):
    """A picture in a message: a data URI, or the hash of an asset of ours; an address is never fetched."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text: str = super()._deserialize(value, attr, data, **kwargs)
        if _HASH.fullmatch(text):
            return REFERENCE + text  # whether there is one, and whose it is, the view asks
        found = _DATA_URI.fullmatch(text)
        if found is None:
            raise ValidationError("Must be a data URI of a PNG, JPEG, GIF or WebP image in base64, or an asset's hash.")
        try:
            content = base64.b64decode(found[2], validate=True)
        except binascii.Error:
            raise ValidationError("Is not base64.") from None
        facts = read_facts(content)
        if facts is None or facts.media_type != found[1]:  # would only be sent for a vendor to refuse it
            raise ValidationError(f"Does not hold an image of the type it names, {found[1]}.")
        return text


class ChatRequestSchema(TolerantSchema, RunOptionsSchema):
    """One message."""

    message = fields.String(
        required=True, validate=validate.Regexp(re.compile(r".*\S", re.DOTALL), error="Must not be empty.")
    )
    session_id = fields.String(
        allow_none=True,
        load_default=None,
        validate=validate.Length(max=SESSION_ID_LENGTH),
        metadata={"description": "Goes on with a session, or opens one under this id; empty opens a new one."},
    )
    context_tokens = WholeNumber(
        high=MOST_CONTEXT_TOKENS,
        allow_none=True,
        load_default=0,
        metadata={"description": "How much the caller's context holds; over 900000 is 413."},
    )
    images = fields.List(ImageField(), load_default=list, allow_none=True, validate=validate.Length(max=MOST_IMAGES))
    stream = fields.Boolean(
        load_default=False,
        allow_none=True,
        metadata={"description": "Answer with server-sent events: token, then done or error."},
    )


class RouteSchema(AnswerSchema):
    """Where a message went and what that saved."""

    reason = fields.String(required=True)
    estimated_dollars = fields.Float(required=True, metadata={"description": "Before it was asked."})
    saved_dollars = fields.Float(
        required=True, metadata={"description": "Against always asking thinking_ai; below 0 where it was dearer."}
    )
    holdout = fields.Boolean(metadata={"description": "One of the share that always goes to thinking_ai."})
    moved_from = fields.String(metadata={"description": "The documented model, where evidence moved it down."})


class ChatAnswerSchema(RunAnswerSchema, DryRunSchema):
    """What a message was answered."""

    session_id = fields.String()
    response = fields.String()
    category = fields.String(validate=validate.OneOf([category.value for category in Category]))
    model_used = fields.String(metadata={"description": "The logical name of the model that answered."})
    timestamp = fields.String()
    route = fields.Nested(RouteSchema)
    status = fields.String(metadata={"description": "Category H: where the work stands that goes on."})
    status_url = fields.String()
    events_url = fields.String()


class SessionMessageSchema(AnswerSchema):
    """One line of a session."""

    role = fields.String(required=True, validate=validate.OneOf(["user", "assistant"]))
    content = fields.String(required=True)
    timestamp = fields.DateTime(required=True)


class SessionSchema(AnswerSchema):
    """A conversation."""

    created_at = fields.DateTime(required=True)
    messages = fields.List(fields.Nested(SessionMessageSchema), required=True)


class SessionDeletedSchema(AnswerSchema):
    """A conversation that is gone."""

    status = fields.String(required=True, validate=validate.Equal("deleted"))
    session_id = fields.String(required=True)


class VerdictSchema(StrictSchema):
    """What a person thinks of an answer."""

    good = fields.Boolean(required=True)
    note = fields.String(allow_none=True, load_default=None, validate=validate.Length(max=NOTE_LENGTH))


class VerdictAnswerSchema(AnswerSchema):
    """The verdict that counts now."""

    task_id = fields.String(required=True)
    good = fields.Boolean(required=True)
    note = fields.String(required=True, allow_none=True)
    judged_at = fields.DateTime(required=True)


class WarmUpRequestSchema(StrictSchema):
    """Somebody is about to write."""

    session_id = fields.String(allow_none=True, load_default=None, validate=validate.Length(max=SESSION_ID_LENGTH))


class WarmUpAnswerSchema(AnswerSchema):
    """What is done about it."""

    status = fields.String(required=True, validate=validate.OneOf(["warming", "warm"]))
    task_id = fields.String(required=True, allow_none=True)
    session = fields.String(required=True, validate=validate.OneOf(["known", "new"]))
    messages = fields.Integer(required=True)
    status_url = fields.String(required=True, allow_none=True)


def read_asked(body: dict[str, Any]) -> Asked:
    """Take the message out of a parsed body."""
    return Asked(body["message"], tuple(body["images"] or ()), body["context_tokens"] or 0)
