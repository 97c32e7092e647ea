"""What the connections to all vendors have in common, whichever SDK holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2
import orjson

from app.errors import FatalError
from app.providers.failures import unsendable

CONNECT_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 15.0
"""Shorter than the vendors' own, so that a request seldom meets a connection that was just closed."""
MOST_CONNECTIONS = 10_000
"""Above what one process holds in flight; with no number given, the transport stops at 100."""


def transport_options() -> dict[str, Any]:
    """Say how an SDK's client over aiohttp holds its connections."""
    limits = httpx2.Limits(
        max_connections=MOST_CONNECTIONS, max_keepalive_connections=MOST_CONNECTIONS, keepalive_expiry=KEEP_ALIVE_S
    )
    # Redirects are not followed: nobody but the operator says where requests go.
    return {"limits": limits, "timeout": CONNECT_TIMEOUT_S, "follow_redirects": False}


def wire_timeout(timeout_s: float) -> httpx2.Timeout:
    """Give connecting its share of the time; the rest may pass in silence."""
    return httpx2.Timeout(timeout_s, connect=min(CONNECT_TIMEOUT_S, timeout_s / 2))


def write_json(provider: str, body: Mapping[str, Any]) -> bytes:
    """Write a request's body.

    Raises:
        FatalError: it is no JSON; nothing was sent.
    """
    try:
        return orjson.dumps(body)
    except (orjson.JSONEncodeError, RecursionError) as error:
        raise unsendable(provider, FatalError, "the request cannot be written as JSON") from error
