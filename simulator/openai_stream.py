"""A completion as server-sent events, with each server's habits and the faults a stream can have."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import web

from simulator.openai_account import GOOGLE_WIRE, OPENROUTER_WIRE, Wire

if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE_CHARACTERS = 12
SETTLE_S = 0.02
"""Lets what was sent arrive before the connection is cut."""


async def stream_completion(request: web.Request, wire: Wire, completion: dict[str, Any]) -> web.StreamResponse:
    """Send a completion in pieces; a fault strikes after the first."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "x-request-id": f"req_{completion['id']}"}
    )
    await response.prepare(request)
    if wire is OPENROUTER_WIRE:
        await response.write(b": OPENROUTER PROCESSING\n\n")
    head = {key: completion[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    for place, choice in enumerate(_choices(completion["choices"][0], wire)):
        if choice["finish_reason"] and request.get("cut_end"):
            await asyncio.sleep(SETTLE_S)
            return response
        await _send(response, {**head, "choices": [choice]})
        if place == 0 and await _strike(request, response, wire, head):
            return response
    await _send_usage(response, request["body"], wire, {**head, "usage": completion["usage"]})
    await response.write(b"data: [DONE]\n\n")
    return response


async def _send_usage(response: web.StreamResponse, body: dict[str, Any], wire: Wire, chunk: dict[str, Any]) -> None:
    """Send the usage where it is asked for; OpenRouter sends it always."""
    if wire is OPENROUTER_WIRE or (body.get("stream_options") or {}).get("include_usage"):
        await _send(response, {**chunk, "choices": []})


def _choices(choice: dict[str, Any], wire: Wire) -> Iterator[dict[str, Any]]:
    """Cut a choice into those of the chunks."""
    message, finish_reason = choice["message"], choice["finish_reason"]
    key = "refusal" if message["refusal"] else "content"
    text, calls = message[key] or "", message.get("tool_calls") or []
    starts = range(0, len(text), PIECE_CHARACTERS) if text or not calls else ()
    pieces = [text[start : start + PIECE_CHARACTERS] for start in starts] or ([] if calls else [""])
    deltas = [{key: piece} for piece in pieces]
    deltas += [delta for number, call in enumerate(calls) for delta in _call_deltas(number, call, wire)]
    for place, delta in enumerate(deltas):
        role = {"role": "assistant"} if place == 0 else {}
        yield {"index": 0, "delta": {**role, **delta}, "finish_reason": None}
    # Google's endpoint says "stop" while it streams calls of tools.
    reason = "stop" if wire is GOOGLE_WIRE and finish_reason == "tool_calls" else finish_reason
    yield {"index": 0, "delta": {}, "finish_reason": reason}


def _call_deltas(number: int, call: dict[str, Any], wire: Wire) -> Iterator[dict[str, Any]]:
    """Cut one call; Google's endpoint sends it whole, without an index."""
    if wire is GOOGLE_WIRE:
        yield {"tool_calls": [call]}
        return
    function = call["function"]
    yield {"tool_calls": [{**call, "index": number, "function": {**function, "arguments": ""}}]}
    arguments = function["arguments"]
    for start in range(0, len(arguments), PIECE_CHARACTERS):
        part = {"index": number, "function": {"arguments": arguments[start : start + PIECE_CHARACTERS]}}
        yield {"tool_calls": [part]}


async def _strike(request: web.Request, response: web.StreamResponse, wire: Wire, head: dict[str, Any]) -> bool:
    """Do what a fault orders; say whether the stream ends with it."""
    if request.get("stream_delay_s"):
        await asyncio.sleep(request["stream_delay_s"])
    error, raw = request.get("stream_error"), request.get("stream_raw")
    if error is not None:
        broken = {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]}
        await _send(response, {**head, **broken, "error": error} if wire is OPENROUTER_WIRE else {"error": error})
    elif raw is not None:
        await response.write(raw.encode())
    elif request.get("cut_stream"):
        await asyncio.sleep(SETTLE_S)
        if request.transport is not None:
            request.transport.abort()
    return error is not None or raw is not None or bool(request.get("cut_stream"))


async def _send(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await response.write(b"data: " + written(chunk) + b"\n\n")


def written(value: Any) -> bytes:
    """Write JSON; half a surrogate pair, which a model may say, only the slow writer takes."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return json.dumps(value).encode()
