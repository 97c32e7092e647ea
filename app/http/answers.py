"""Write answers: JSON, money, pages."""

from __future__ import annotations

import json
import math
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
from flask import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

MEDIA_TYPE = "application/json"
PAGE_SIZE = 50
PAGE_SIZE_MAX = 200
_MILLIONTHS = 6
_INTEGER_MIN, _INTEGER_MAX = -(2**63), 2**64 - 1  # what orjson writes


def dump(value: Any) -> bytes:
    """Write JSON; times as ISO 8601, dollars as numbers to a millionth."""
    try:
        return orjson.dumps(value, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        try:
            return orjson.dumps(_narrowed(value), default=_plain, option=orjson.OPT_NON_STR_KEYS)
        except (TypeError, RecursionError):
            # Steps can nest their outputs deeper, by each other, than orjson writes; a run must stay readable.
            return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":")).encode()


def answer_json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Make a JSON answer."""
    return Response(dump(value), status=status, content_type=MEDIA_TYPE, headers=dict(headers or {}))


def dollars(amount: Decimal | None) -> float | None:
    """Give an amount as a number to a millionth."""
    return None if amount is None else round(float(amount), _MILLIONTHS)


def page_headers(total: int, page: int, page_size: int) -> dict[str, str]:
    """Describe a page in `X-Pagination`."""
    pages = math.ceil(total / page_size)
    facts = {"total": total, "total_pages": pages, "page": page, "page_size": page_size}
    if page > 1:
        facts["previous_page"] = page - 1
    if page < pages:
        facts["next_page"] = page + 1
    return {"X-Pagination": dump(facts).decode()}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return round(float(value), _MILLIONTHS)
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def _narrowed(value: Any) -> Any:
    """Bring whole numbers beyond 64 bits back to floats: jsonb gives 1e30 back as a whole number of 31 digits."""
    if isinstance(value, dict):
        return {key: _narrowed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_narrowed(item) for item in value]
    if isinstance(value, int) and not _INTEGER_MIN <= value <= _INTEGER_MAX:
        return float(value)
    return value
