"""Judge an address that a caller wants to be called back at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable
    from urllib.parse import SplitResult

_PLAIN = re.compile(r"[\x21-\x5b\x5d-\x7e]+")  # printable ASCII without blanks and backslashes


def callback_problem(url: str, allowed_hosts: Iterable[str]) -> str | None:
    """Say why an address must not be sent to; None when it may.

    The host must equal an allowed one letter by letter (case aside); an allowed `host:port` demands that port.
    Backslashes, blanks, control characters and user names are refused because readers of addresses disagree on them.
    """
    parts = _split(url)
    if parts is None or parts.scheme not in {"http", "https"}:
        return "Must be a plain http or https address."
    if "@" in parts.netloc:
        return "Must not carry a user name or password."
    allowed = {host.lower() for host in allowed_hosts}
    if not allowed:
        return "No host may be called back: CALLBACK_ALLOWED_HOSTS is not set."
    host = (parts.hostname or "").lower()
    if not host or not {host, f"{host}:{_port(parts)}"} & allowed:
        return "The host is not in CALLBACK_ALLOWED_HOSTS."
    return None


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
