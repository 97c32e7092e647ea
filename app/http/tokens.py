"""Tokens: make, list, revoke. Administrators only."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from marshmallow import ValidationError, fields, validate

from app.access.model import Scope, Token
from app.access.service import NAME_LENGTH
from app.http.application import application
from app.http.resource import Resource, Route, Rule
from app.http.schemas import AnswerSchema, Instant, StrictSchema

resource = Resource("tokens", "Who may call.")
ADMIN = Rule(scope=Scope.ADMIN)
SCOPES = [scope.value for scope in Scope]


def _in_future(moment: datetime) -> None:
    if moment <= datetime.now(UTC):
        raise ValidationError("Must lie in the future.")


class TokenRequestSchema(StrictSchema):
    """A token to make."""

    name = fields.String(required=True, validate=validate.Length(min=1, max=NAME_LENGTH))
    scope = fields.String(required=True, validate=validate.OneOf(SCOPES))
    expires_at = Instant(allow_none=True, validate=_in_future)


class TokenSchema(AnswerSchema):
    """A stored token."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    scope = fields.String(required=True, validate=validate.OneOf(SCOPES))
    created_at = fields.DateTime(required=True)
    expires_at = fields.DateTime(required=True, allow_none=True)
    last_used_at = fields.DateTime(required=True, allow_none=True, metadata={"description": "Exact to a minute."})
    revoked = fields.Boolean(required=True)


class NewTokenSchema(AnswerSchema):
    """A token with its secret, which is shown once."""

    id = fields.String(required=True)
    name = fields.String(required=True)
    scope = fields.String(required=True, validate=validate.OneOf(SCOPES))
    token = fields.String(
        required=True, allow_none=True, metadata={"description": "Shown once; null under a repeated key."}
    )


@resource.serves(Route(path="/tokens", answer=TokenSchema, many=True, rule=ADMIN))
def list_tokens() -> list[dict[str, Any]]:
    """List all stored tokens, newest first."""
    return [show_token(token) for token in application().tokens.list_tokens()]


@resource.serves(
    Route(
        path="/tokens",
        method="POST",
        body=TokenRequestSchema,
        answer=NewTokenSchema,
        status=201,
        rule=ADMIN,
        secrets=("token",),
    )
)
def create_token(body: dict[str, Any]) -> dict[str, Any]:
    """Make a token; its secret is in this answer and nowhere else."""
    token, secret = application().tokens.create_token(body["name"], Scope(body["scope"]), body.get("expires_at"))
    return {"id": token.token_id, "name": token.name, "scope": token.scope, "token": secret}


@resource.serves(Route(path="/tokens/<token_id>", method="DELETE", status=204, rule=ADMIN))
def revoke_token(token_id: str) -> None:
    """Revoke a token from the next request on."""
    application().tokens.revoke_token(token_id)


def show_token(token: Token) -> dict[str, Any]:
    """Shape a token for the list."""
    return {
        "id": token.token_id,
        "name": token.name,
        "scope": token.scope,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "revoked": token.revoked,
    }
