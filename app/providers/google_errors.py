"""What an error of Google's native wire means for the engine and the breaker.

Its errors are those of the compatible endpoint without the list around them, so they are read in the same place.
Source: https://ai.google.dev/gemini-api/docs/troubleshooting, November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson

from app.errors import StepError
from app.providers.failures import error_object
from app.providers.openai_errors import from_status

REFUSALS = frozenset(
    {
        "BLOCKLIST",
        "IMAGE_OTHER",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION",
        "IMAGE_SAFETY",
        "NO_IMAGE",
        "OTHER",
        "PROHIBITED_CONTENT",
        "RECITATION",
        "SAFETY",
        "SPII",
    }
)
"""Reasons to finish without what was asked for. They come with a 200 and will come again."""
_WORDS_OF_REFUSAL = ("safety", "prohibited", "blocked", "policy", "responsible ai", "not supported")


def from_answer(provider: str, status: int, content: bytes, headers: Mapping[str, str]) -> StepError:
    """Translate an HTTP status other than 2xx.

    Args:
        provider: for the message.
        status: 400 and above; one below that is a redirect, which this wire never answers with.
        content: the body, whatever it is.
        headers: for what they say about waiting.
    """
    if status < HTTPStatus.BAD_REQUEST:
        status = HTTPStatus.BAD_GATEWAY
    return from_status(provider, status, error_object(read_json(content)), headers)


def read_json(content: bytes) -> Any:
    """Read JSON; None for what is none."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return None


def refuses_for_good(error: Mapping[str, Any]) -> bool:
    """Tell a film's failure that the same words will meet again from one of the vendor's own."""
    code = error.get("code")
    if code in {3, 7, 9, 400, 403, "INVALID_ARGUMENT", "invalid_request", "FAILED_PRECONDITION", "PERMISSION_DENIED"}:
        return True
    said = str(error.get("message", "")).lower()
    return any(word in said for word in _WORDS_OF_REFUSAL)
