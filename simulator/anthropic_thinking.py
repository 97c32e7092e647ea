"""What Anthropic signs its thinking with, and when it takes a thought back: unchanged, behind what was there before."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


def signature_of(body: Mapping[str, Any], turns: int | None = None) -> str:
    """Sign a thought that follows the first `turns` messages of a request; all of them when not given."""
    before = _bare([body.get("system"), body.get("tools"), body["messages"][:turns]])
    return f"{body['model']}:{hashlib.sha256(json.dumps(before, sort_keys=True).encode()).hexdigest()}"


def _bare(value: Any) -> Any:
    """Leave out marks for the cache: they may move."""
    if isinstance(value, dict):
        return {key: _bare(one) for key, one in value.items() if key != "cache_control"}
    return [_bare(one) for one in value] if isinstance(value, list) else value


def thinking_problem(body: Mapping[str, Any], *, bound: bool) -> str:
    """Say what is wrong with the thoughts that came back; empty when nothing is. Another model's are passed over.

    Args:
        body: of the request.
        bound: the model holds its thoughts to what stood before them.
    """
    for turn, place, block in _thoughts(body):
        signature = str(block.get("signature", ""))
        model, _, digest = signature.partition(":")
        if not digest:
            return f"{place}: Invalid `signature` in `thinking` block"
        if bound and model == body["model"] and signature != signature_of(body, turn):
            return f"{place}: `thinking` blocks cannot be sent back after the conversation before them has changed"
    return ""


def _thoughts(body: Mapping[str, Any]) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    for turn, message in enumerate(body["messages"]):
        content = message["content"]
        for number, block in enumerate(content if isinstance(content, list) else []):
            if block["type"] == "thinking":
                yield turn, f"messages.{turn}.content.{number}", block
