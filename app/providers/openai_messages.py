"""A chat request in OpenAI's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from app.gateway.model import ChatRequest
from app.gateway.structured import is_strict

SCHEMA_NAME = "answer"
BETWEEN_PARTS = "\n\n"


def wire_body(request: ChatRequest, foreign_call: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write a request in the wire's words.

    Args:
        request: ours.
        foreign_call: what this vendor wants to see on calls of tools that another's model made.
    """
    own = _Hangings(request.provider, foreign_call or {})
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [_wire_message(message, own) for message in request.messages],
        request.max_tokens_field: request.max_tokens,
        **request.extra,
    }
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.response_schema is not None:
        schema = request.response_schema
        described = {"name": SCHEMA_NAME, "schema": schema, "strict": is_strict(schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": described}
    if request.tools:
        body["tools"] = [_wire_tool(tool) for tool in request.tools]
    return body


@dataclass(frozen=True)
class _Hangings:
    """What is hung on calls of tools for one vendor."""

    provider: str
    foreign_call: Mapping[str, Any]

    def of(self, calls: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """Give what goes with each call: what this vendor hung there, for others would refuse it, or its stand-in."""
        found = [call.get("extra", {}).get(self.provider, {}) for call in calls]
        return found if any(found) else [self.foreign_call, *found[1:]]


def _wire_message(message: Mapping[str, Any], hangings: _Hangings) -> dict[str, Any]:
    """Write one message. Marks for a cache have no place on this wire: such vendors cache long prefixes unasked."""
    written = {"role": message["role"], "content": _wire_content(message["content"])}
    if "tool_call_id" in message:
        written["tool_call_id"] = message["tool_call_id"]
    if message.get("tool_calls"):
        written["content"] = written["content"] or None
        written["tool_calls"] = [
            {**_wire_call(call), **extra}
            for call, extra in zip(message["tool_calls"], hangings.of(message["tool_calls"]), strict=True)
        ]
    return written


def _wire_content(content: str | Sequence[Mapping[str, Any]]) -> str | list[dict[str, Any]]:
    if isinstance(content, str):
        return content
    if all(part["type"] == "text" for part in content):
        # Not every server that speaks this wire takes parts, and none needs them for text.
        return BETWEEN_PARTS.join(part["text"] for part in content)
    return [_wire_part(part) for part in content]


def _wire_part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "image":
        return {"type": "image_url", "image_url": {"url": part["url"]}}
    return {"type": "text", "text": part["text"]}


def _wire_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    # Without `strict`: Google's endpoint refuses a field it does not know.
    function = {
        "name": tool["name"],
        "description": tool.get("description", ""),
        "parameters": tool.get("input_schema") or {"type": "object", "properties": {}},
    }
    return {"type": "function", "function": function}


def _wire_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": call["name"], "arguments": orjson.dumps(call["input"]).decode()}
    return {"id": call["id"], "type": "function", "function": function}
