"""Read what vendors answer, before anybody looks at what it says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson

from app.providers.failures import unreadable


def read_json(content: bytes | str) -> Any:
    """Read JSON, also with half a surrogate pair in it: models write those now and then, and the answer is paid for.

    Raises:
        ValueError: it is none.
    """
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content)


def read_answer_json(content: bytes, provider: str) -> Any:
    """Read the body of a 2xx.

    Raises:
        StepError: it is no JSON.
    """
    try:
        return read_json(content)
    except (ValueError, RecursionError) as error:
        raise unreadable(provider, "no JSON") from error


def read_inner(raw: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Give the object under a key; an empty one when there is none."""
    found = raw.get(key)
    return found if isinstance(found, dict) else {}
