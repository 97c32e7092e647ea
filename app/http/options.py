"""Read the options that every POST which starts a run understands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from marshmallow import Schema, fields, validate

from app.errors import InvalidError
from app.http.schemas import PRIORITIES, Dollars
from app.runs.callback_address import callback_problem
from app.runs.model import Priority

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal

URL_LENGTH = 2048


class RunOptionsSchema(Schema):
    """The options, among a body's other fields."""

    callback_url = fields.String(
        allow_none=True,
        validate=validate.Length(max=URL_LENGTH),
        metadata={"description": "POSTed the answer when the run ends; its host must be in CALLBACK_ALLOWED_HOSTS."},
    )
    priority = fields.String(validate=validate.OneOf(PRIORITIES), load_default=Priority.MEDIUM.value)
    max_cost_usd = Dollars(allow_none=True, metadata={"type": "number", "minimum": 0, "description": "A hard cap."})
    dry_run = fields.Boolean(
        load_default=False, metadata={"description": "Only estimate; nothing is called or stored."}
    )


@dataclass(frozen=True)
class RunOptions:
    """How a run shall be done."""

    callback_url: str | None
    priority: Priority
    max_cost_usd: Decimal | None
    dry_run: bool


def read_options(body: Mapping[str, Any], allowed_hosts: Iterable[str]) -> RunOptions:
    """Take the options out of a parsed body.

    Raises:
        InvalidError: the callback names a host that is not allowed.
    """
    callback_url = body.get("callback_url") or None
    if callback_url is not None:
        check_callback(callback_url, allowed_hosts)
    return RunOptions(
        callback_url=callback_url,
        priority=Priority(body["priority"]),
        max_cost_usd=body.get("max_cost_usd"),
        dry_run=body["dry_run"],
    )


def check_callback(url: str, allowed_hosts: Iterable[str]) -> None:
    """Refuse an address we may not send to.

    Raises:
        InvalidError: says what is wrong, under `callback_url`.
    """
    problem = callback_problem(url, allowed_hosts)
    if problem is not None:
        raise InvalidError(
            "The callback_url cannot be used.", errors={"callback_url": [problem]}, code="callback_refused"
        )
