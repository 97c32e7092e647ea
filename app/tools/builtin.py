"""Small tools for documents: shaping values between steps, and waiting.

None of them reaches outside, so each is repeat-safe: a second run gives the same, or only waits again.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import json
from typing import Any

from app.errors import FatalError
from app.runs.ports import Handler, HandlerCatalog, StepContext

MOST_WAIT_S = 3600
MOST_SLICES = 1000


def register_builtin_tools(catalog: HandlerCatalog) -> None:
    """Add the built-in tools."""
    for handler in (
        Handler("echo", echo, purpose="give back the input"),
        Handler("wait", wait, timeout_s=MOST_WAIT_S + 10, purpose="wait `seconds` (0..3600), give back `value`"),
        Handler("now", now, purpose="the time in UTC, ISO 8601"),
        Handler("join_text", join_text, purpose="join `items` to one text with `separator`"),
        Handler("split_list", split_list, purpose="cut `items` into lists of at most `size`"),
        Handler("fingerprint", fingerprint, purpose="SHA-256 of the input's canonical JSON, hex"),
    ):
        catalog.tool(handler)


async def echo(_context: StepContext, given: Any) -> Any:
    """Give back the input.

    Repeat-safe: changes nothing.
    """
    return given


async def wait(_context: StepContext, given: dict[str, Any]) -> Any:
    """Wait, holding no thread.

    Repeat-safe: waits again.
    """
    seconds = _number(given, "seconds", 0)
    if not 0 <= seconds <= MOST_WAIT_S:
        raise FatalError(f"wait takes 0 to {MOST_WAIT_S} seconds, not {seconds}.", code="tool_input")
    await asyncio.sleep(seconds)
    return given.get("value")


async def now(_context: StepContext, _given: Any) -> str:
    """Tell the time.

    Repeat-safe: the output of the try that finishes is the step's.
    """
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


async def join_text(_context: StepContext, given: dict[str, Any]) -> str:
    """Join a list to one text; what is no text is written as JSON.

    Repeat-safe: changes nothing.
    """
    separator = given.get("separator", "\n")
    return str(separator).join(
        item if isinstance(item, str) else json.dumps(item, ensure_ascii=False) for item in _list(given, "items")
    )


async def split_list(_context: StepContext, given: dict[str, Any]) -> list[list[Any]]:
    """Cut a list into slices, for a `for_each` over them.

    Repeat-safe: changes nothing.
    """
    items, size = _list(given, "items"), int(_number(given, "size", 10))
    if size < 1 or len(items) > size * MOST_SLICES:
        raise FatalError(f"split_list cannot cut {len(items)} items by {size}.", code="tool_input")
    return [items[start : start + size] for start in range(0, len(items), size)]


async def fingerprint(_context: StepContext, given: Any) -> str:
    """Hash a value, whatever the order of its keys.

    Repeat-safe: changes nothing.
    """
    return hashlib.sha256(json.dumps(given, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _list(given: Any, name: str) -> list[Any]:
    value = given.get(name) if isinstance(given, dict) else None
    if not isinstance(value, list):
        raise FatalError(f"The input needs a list named {name!r}.", code="tool_input")
    return value


def _number(given: Any, name: str, default: float) -> float:
    value = given.get(name, default) if isinstance(given, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FatalError(f"The input needs a number named {name!r}.", code="tool_input")
    return value
