"""Turns in which Anthropic's models thought and asked for tools: kept whole, and given back as they were.

The vendor goes on with a thought that comes back to it, and refuses one that comes back behind another conversation
than it was made in. Such do happen: system prompts carry what was looked up, old turns are put into a summary. So a
turn goes with a digest of what was before it, and where that differs it is written anew, without its thoughts, which
is taken too.

Source: https://platform.claude.com/docs/en/build-with-claude/preserved-thinking, November 2026.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.gateway.model import ChatRequest

THOUGHTS = {"thinking", "redacted_thinking"}


def hang_turn(calls: Sequence[dict[str, Any]], blocks: Sequence[Mapping[str, Any]], request: ChatRequest) -> None:
    """Hang a turn on the first of its calls, under the provider's name; nothing without a thought in it."""
    if calls and any(block.get("type") in THOUGHTS for block in blocks):
        kept = {"blocks": list(blocks), "behind": _digest(request, len(request.messages))}
        calls[0]["extra"] = {request.provider: kept}


def find_turn(request: ChatRequest, place: int) -> list[dict[str, Any]] | None:
    """Find the blocks of a message that this vendor wrote.

    Args:
        request: the conversation.
        place: of the message in it.

    Returns:
        None when it was another's or had no thought, when its calls are not those it was kept with, or when anything
        before it has changed.
    """
    calls = request.messages[place].get("tool_calls") or ()
    kept = calls[0].get("extra", {}).get(request.provider) if calls else None
    if not isinstance(kept, Mapping) or not kept.get("behind") or kept["behind"] != _digest(request, place):
        return None
    blocks: list[dict[str, Any]] = kept["blocks"]
    asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
    return list(blocks) if asked == [call["id"] for call in calls] else None


def _digest(request: ChatRequest, place: int) -> str:
    """Tell apart what the vendor reads before a message: tools, system prompts wherever they stand, earlier turns.

    Returns:
        Empty for what is nested too deeply to be told apart.
    """
    system = [message for message in request.messages if message["role"] == "system"]
    before = [message for message in request.messages[:place] if message["role"] != "system"]
    try:
        told = json.dumps(_unmarked([request.tools, request.response_schema, system, before]), sort_keys=True)
    except RecursionError:
        return ""
    return hashlib.sha256(told.encode()).hexdigest()


def _unmarked(value: Any) -> Any:
    """Leave out marks for the cache: they may move."""
    if isinstance(value, Mapping):
        return {key: _unmarked(one) for key, one in value.items() if key != "cache"}
    return [_unmarked(one) for one in value] if isinstance(value, list | tuple) else value
