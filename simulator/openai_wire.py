"""OpenAI's chat completions wire, with what the vendor refuses; OpenRouter's differs in prefix and cost only."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.answers import Answer, count_tokens, plain_answer
from simulator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Callable

REASONING_MODEL = re.compile(r"(gpt-[56]|o\d)")
"""Models that take `max_completion_tokens` only and no sampling parameters."""
PIECE_CHARACTERS = 12
_numbers = itertools.count(1)


def routes(prefix: str) -> list[web.RouteDef]:
    """List the routes below a prefix such as `/openai/v1`."""
    priced = "openrouter" in prefix
    return [
        web.post(f"{prefix}/chat/completions", _chat(priced=priced)),
        web.get(f"{prefix}/models", _models),
    ]


class _Refusal(Exception):  # noqa: N818 - a vendor's answer, not a fault
    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None,
        kind: str = "invalid_request_error",
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


async def _models(_request: web.Request) -> web.Response:
    return web.json_response(
        {"object": "list", "data": [{"id": "gpt-6-luna", "object": "model", "created": 0, "owned_by": "openai"}]}
    )


def _chat(*, priced: bool) -> Callable[[web.Request], Any]:
    async def run(request: web.Request) -> web.StreamResponse:
        try:
            body = await _checked(request)
        except _Refusal as refusal:
            return web.json_response(
                refusal.body, status=refusal.status, headers={"x-request-id": f"req_{next(_numbers)}"}
            )
        book = request.app[STATE].answers
        if book.latency_s:
            await asyncio.sleep(book.latency_s)
        answer = book.take(body["model"], json.dumps(body["messages"])) or _plain(body)
        usage = _usage(body, answer, priced=priced)
        if body.get("stream"):
            return await _stream(request, body, answer, usage)
        return web.json_response(_completion(body, answer, usage), headers={"x-request-id": f"req_{next(_numbers)}"})

    return run


async def _checked(request: web.Request) -> dict[str, Any]:
    """Refuse what the vendor refuses."""
    authorization = request.headers.get("Authorization", "")
    if not authorization.startswith("Bearer ") or "invalid" in authorization:
        raise _Refusal(401, "Incorrect API key provided.", code="invalid_api_key")
    try:
        body = json.loads(await request.text())
    except ValueError:
        body = None
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise _Refusal(400, "you must provide a model parameter", code=None)
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        raise _Refusal(400, "Invalid 'messages': empty array.", code="empty_array", param="messages")
    if body["model"] in request.app[STATE].answers.retired:
        raise _Refusal(404, f"The model `{body['model']}` has been deprecated", code="model_not_found")
    if REASONING_MODEL.match(body["model"]):
        _check_reasoning(body)
    _check_numbers(body)
    _check_format(body.get("response_format"))
    return body


def _check_reasoning(body: dict[str, Any]) -> None:
    if "max_tokens" in body:
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        raise _Refusal(400, message, code="unsupported_parameter", param="max_tokens")
    for name in ("temperature", "top_p"):
        if body.get(name, 1) != 1:
            message = (
                f"Unsupported value: '{name}' does not support {body[name]} with this model. "
                "Only the default (1) value is supported."
            )
            raise _Refusal(400, message, code="unsupported_value", param=name)


def _check_numbers(body: dict[str, Any]) -> None:
    for name, low, high in (
        ("temperature", 0, 2),
        ("top_p", 0, 1),
        ("max_tokens", 1, 10**9),
        ("max_completion_tokens", 1, 10**9),
    ):
        value = body.get(name)
        if value is not None and (
            isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high
        ):
            raise _Refusal(400, f"Invalid value for '{name}'.", code="invalid_value", param=name)


def _check_format(response_format: Any) -> None:
    if response_format is None or response_format.get("type") != "json_schema":
        return
    described = response_format.get("json_schema") or {}
    name = described.get("name", "")
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", str(name)):
        raise _Refusal(
            400, "Invalid 'response_format.json_schema.name'.", code="invalid_value", param="response_format"
        )
    if described.get("strict"):
        problem = _strict_problem(described.get("schema") or {})
        if problem:
            raise _Refusal(
                400,
                f"Invalid schema for response_format '{name}': {problem}",
                code="invalid_json_schema",
                param="response_format",
            )


def _strict_problem(schema: Any) -> str:
    """Say what strict mode does not take; empty when it takes all."""
    if isinstance(schema, list):
        return next((problem for item in schema if (problem := _strict_problem(item))), "")
    if not isinstance(schema, dict):
        return ""
    if "properties" in schema or schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false."
        if set(schema.get("required", [])) != set(schema.get("properties", {})):
            return "'required' is required to be supplied and to be an array including every key in properties."
    inner = [
        *schema.get("properties", {}).values(),
        *schema.get("$defs", {}).values(),
        schema.get("items"),
        schema.get("anyOf"),
    ]
    return _strict_problem([item for item in inner if item is not None])


def _plain(body: dict[str, Any]) -> Answer:
    schema = None
    response_format = body.get("response_format") or {}
    if response_format.get("type") == "json_schema":
        schema = response_format["json_schema"].get("schema")
    elif response_format.get("type") == "json_object":
        return Answer(content="{}")
    return Answer(content=plain_answer(_text(body["messages"][-1]), schema))


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "[image]") for part in content)


def _usage(body: dict[str, Any], answer: Answer, *, priced: bool) -> dict[str, Any]:
    prompt = sum(count_tokens(_text(message)) for message in body["messages"])
    usage: dict[str, Any] = {
        "prompt_tokens": prompt,
        "completion_tokens": count_tokens(answer.text),
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
        **({"cost": 0.0001} if priced else {}),
        **answer.usage,
    }
    return {**usage, "total_tokens": usage["prompt_tokens"] + usage["completion_tokens"]}


def _completion(body: dict[str, Any], answer: Answer, usage: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None}
    if answer.tool_calls:
        message |= {"content": None, "tool_calls": answer.tool_calls}
    return {
        "id": f"chatcmpl-{next(_numbers)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}],
        "usage": usage,
    }


async def _stream(
    request: web.Request, body: dict[str, Any], answer: Answer, usage: dict[str, Any]
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "x-request-id": f"req_{next(_numbers)}"}
    )
    await response.prepare(request)
    head = {
        "id": f"chatcmpl-{next(_numbers)}",
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": body["model"],
    }
    pieces = [answer.text[start : start + PIECE_CHARACTERS] for start in range(0, len(answer.text), PIECE_CHARACTERS)]
    for place, piece in enumerate(pieces):
        delta = {"content": piece, **({"role": "assistant"} if place == 0 else {})}
        await _send(response, {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        if (error := request.get("stream_error")) is not None:
            await _send(response, {"error": error})
            return response
    await _send(response, {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": answer.finish_reason}]})
    if (body.get("stream_options") or {}).get("include_usage"):
        await _send(response, {**head, "choices": [], "usage": usage})
    await response.write(b"data: [DONE]\n\n")
    return response


async def _send(response: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
