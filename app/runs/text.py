"""Make any value safe to store as jsonb.

PostgreSQL refuses NUL and lone surrogates in jsonb, and the write of an answer that was paid for must not fail by one.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def cleaned(value: Any) -> Any:
    """Copy a JSON value, with NUL and lone surrogates replaced, and numbers that are none as null."""
    if isinstance(value, str):
        return _UNSTORABLE.sub(REPLACEMENT, value) if _UNSTORABLE.search(value) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {cleaned(str(key)): cleaned(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [cleaned(item) for item in value]
    return value


def cleaned_json(value: Any) -> str:
    """Write a JSON text that jsonb takes.

    The fast writer refuses surrogates and integers over 64 bits, and writes NUL as an escape; only then is the value
    copied.

    Raises:
        TypeError: the value is not JSON at all.
    """
    try:
        text = orjson.dumps(value).decode()
    except TypeError:
        return json.dumps(cleaned(value), ensure_ascii=False, allow_nan=False)
    if "\\u0000" in text:
        return json.dumps(cleaned(value), ensure_ascii=False, allow_nan=False)
    return text
