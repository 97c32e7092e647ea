"""A chat request in the words of Anthropic's messages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from app.errors import PersistentError
from app.gateway.model import ChatRequest
from app.providers.anthropic_schema import closed_schema
from app.providers.anthropic_turns import find_turn
from app.providers.failures import unsendable

SAMPLING = {"temperature", "top_p", "top_k"}
"""Refused by every current model, even at their default values."""
MOST_BREAKPOINTS = 4
DATA_URI = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,(.*)", re.DOTALL)
NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")
ANSWER_BY_SCHEMA = "Answer with one JSON value and nothing else. It must fit this JSON schema:\n"


def wire_body(request: ChatRequest) -> dict[str, Any]:
    """Write a request in the wire's words.

    Raises:
        PersistentError: an image is not a data URI in base64.
    """
    system = _system(request)
    body: dict[str, Any] = {"model": request.model, "max_tokens": request.max_tokens, "messages": _turns(request)}
    schema = closed_schema(request.response_schema) if request.response_schema is not None else None
    if request.response_schema is not None and schema is None:
        asked = ANSWER_BY_SCHEMA + json.dumps(request.response_schema, ensure_ascii=False)
        system.append({"type": "text", "text": asked})
    if system:
        body["system"] = system
    body.update(_tools(request))
    _hold_breakpoints(body)
    extra = {key: value for key, value in request.extra.items() if key not in SAMPLING}
    if schema is not None:
        form = {"type": "json_schema", "schema": schema}
        extra["output_config"] = {**extra.get("output_config", {}), "format": form}
    return {**body, **extra}


def _system(request: ChatRequest) -> list[dict[str, Any]]:
    """Gather all system messages: this wire has one place for them, before the conversation."""
    return [
        block
        for message in request.messages
        if message["role"] == "system"
        for block in _blocks(message["content"], request)
    ]


def _turns(request: ChatRequest) -> list[dict[str, Any]]:
    """Write the conversation: a user's and an assistant's turns, neighbours of one side made one turn."""
    turns: list[dict[str, Any]] = []
    for place, message in enumerate(request.messages):
        if message["role"] == "system":
            continue
        role = "assistant" if message["role"] == "assistant" else "user"
        content = find_turn(request, place) or _content(message, request)
        if not content and message["content"] != "":  # nothing of it is left; an empty text is the vendor's to refuse
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] = [*_as_blocks(turns[-1]["content"]), *_as_blocks(content)]
        elif content or role == "user":
            turns.append({"role": role, "content": content})
    return turns


def _as_blocks(content: str | list[dict[str, Any]]) -> list[dict[str, Any]]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    return content


def _content(message: Mapping[str, Any], request: ChatRequest) -> str | list[dict[str, Any]]:
    content = message["content"]
    if message["role"] == "tool":
        return [_tool_result(message, request)]
    if message.get("tool_calls"):
        calls = [
            {"type": "tool_use", "id": _tool_id(call["id"]), "name": call["name"], "input": call["input"]}
            for call in message["tool_calls"]
        ]
        return [*_blocks(content, request), *calls]
    return content if isinstance(content, str) else _blocks(content, request)


def _tool_result(message: Mapping[str, Any], request: ChatRequest) -> dict[str, Any]:
    """Write a tool's result; a mark for the cache within it moves to the block, where this wire has it."""
    result: dict[str, Any] = {"type": "tool_result", "tool_use_id": _tool_id(message["tool_call_id"])}
    blocks = _blocks(message["content"], request)
    marks = [block.pop("cache_control") for block in blocks if "cache_control" in block]
    if blocks:
        result["content"] = message["content"] if isinstance(message["content"], str) else blocks
    if marks:
        result["cache_control"] = marks[-1]
    return result


def _tool_id(raw: object) -> str:
    """Write a call's id as this wire takes it: in a conversation that began elsewhere it may look otherwise."""
    return NOT_IN_IDS.sub("_", str(raw)) or "_"


def _blocks(content: Any, request: ChatRequest) -> list[dict[str, Any]]:
    """Write the parts of a content; empty texts are left out, for the wire refuses them."""
    if isinstance(content, str):
        return _as_blocks(content)
    return [block for part in content if (block := _block(part, request)) is not None]


def _block(part: Mapping[str, Any], request: ChatRequest) -> dict[str, Any] | None:
    if part["type"] == "image":
        return _image(str(part["url"]), request)
    if not part["text"].strip():
        return None
    block: dict[str, Any] = {"type": "text", "text": part["text"]}
    if part.get("cache"):
        block["cache_control"] = {"type": "ephemeral", "ttl": part["cache"]}
    return block


def _image(url: str, request: ChatRequest) -> dict[str, Any]:
    found = DATA_URI.fullmatch(url)
    if found is not None:
        source = {"type": "base64", "media_type": found[1], "data": found[2]}
    elif url.startswith("https://"):
        source = {"type": "url", "url": url}
    else:
        raise unsendable(request.provider, PersistentError, "an image is not a data URI in base64", code="bad_image")
    return {"type": "image", "source": source}


def _tools(request: ChatRequest) -> dict[str, Any]:
    """Write the tools. A history with calls must define them even when none may be called any more."""
    if request.tools:
        return {"tools": [_tool(tool) for tool in request.tools]}
    called = {call["name"] for message in request.messages for call in message.get("tool_calls", ())}
    if not called:
        return {}
    return {"tools": [_tool({"name": name}) for name in sorted(called)], "tool_choice": {"type": "none"}}


def _tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    described = {"description": tool["description"]} if tool.get("description") else {}
    schema = {"type": "object", "properties": {}, **(tool.get("input_schema") or {})}
    return {"name": tool["name"], **described, "input_schema": schema}


def _hold_breakpoints(body: Mapping[str, Any]) -> None:
    """Keep to the wire's rules of marks: four at most, and none for an hour behind one for five minutes.

    Of too many, the first stays, which most requests share, and the last ones, which reach furthest.
    """
    marks = [block for block in _marked(body) if "cache_control" in block]
    for block in marks[1 : len(marks) - MOST_BREAKPOINTS + 1]:
        del block["cache_control"]
    lives = [block["cache_control"] for block in marks if "cache_control" in block]
    for before, life in pairwise(lives):
        if before["ttl"] == "5m":
            life["ttl"] = "5m"


def _marked(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from body.get("system", ())
    for turn in body["messages"]:
        yield from turn["content"] if isinstance(turn["content"], list) else ()
