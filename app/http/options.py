"""Read the options that every POST which starts a run understands."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from marshmallow import Schema, fields, validate

from app.errors import InvalidError
from app.http.schemas import PRIORITIES, Dollars
from app.runs.model import Priority

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from decimal import Decimal
    from urllib.parse import SplitResult

URL_LENGTH = 2048
_PLAIN = re.compile(r"[\x21-\x5b\x5d-\x7e]+")  # printable ASCII without blanks and backslashes


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

    The host must equal an allowed one letter by letter (case aside); an allowed `host:port` demands that port.
    Backslashes, blanks, control characters and user names are refused because readers of addresses disagree on them.

    Raises:
        InvalidError: says what is wrong, under `callback_url`.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"}:
        raise _refusal("Must be a plain http or https address.")
    if "@" in parts.netloc:
        raise _refusal("Must not carry a user name or password.")
    allowed = {host.lower() for host in allowed_hosts}
    if not allowed:
        raise _refusal("No host may be called back: CALLBACK_ALLOWED_HOSTS is not set.")
    host = (parts.hostname or "").lower()
    if not host or not {host, f"{host}:{_port(parts)}"} & allowed:
        raise _refusal("The host is not in CALLBACK_ALLOWED_HOSTS.")


def _split(url: str) -> SplitResult | None:
    if not _PLAIN.fullmatch(url):
        return None
    try:
        parts = urlsplit(url)
        _port(parts)
    except ValueError:
        return None
    return parts


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _refusal(message: str) -> InvalidError:
    return InvalidError("The callback_url cannot be used.", errors={"callback_url": [message]}, code="callback_refused")
