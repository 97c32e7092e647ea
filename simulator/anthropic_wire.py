"""Anthropic's wire below `/anthropic`: messages, whole or streamed, token counts, models and batches."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator import anthropic_batches as batches
from simulator.anthropic_account import stamp
from simulator.anthropic_message import events_of, message_of, plain, say
from simulator.anthropic_models import MODELS
from simulator.anthropic_rules import Refusal, check_count, check_messages
from simulator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from simulator.anthropic_account import AnthropicAccount

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")
CUT_AFTER_S = 0.02
"""Lets what was written arrive before a connection is cut."""


def routes(prefix: str) -> list[web.RouteDef]:
    """List the routes below a prefix; batches give out their results' address below `/anthropic`."""
    base, batch = f"{prefix}/v1", f"{prefix}/v1/messages/batches"
    return [
        web.post(f"{base}/messages", _guarded(_create)),
        web.post(f"{base}/messages/count_tokens", _guarded(_count)),
        web.get(f"{base}/models", _guarded(_models)),
        web.get(f"{base}/models/{{model}}", _guarded(_model)),
        web.post(batch, _guarded(_create_batch)),
        web.get(batch, _guarded(_answering(batches.list_batches))),
        web.get(f"{batch}/{{batch}}", _guarded(_answering(batches.read))),
        web.delete(f"{batch}/{{batch}}", _guarded(_answering(batches.delete))),
        web.post(f"{batch}/{{batch}}/cancel", _guarded(_answering(batches.cancel))),
        web.get(f"{batch}/{{batch}}/results", _guarded(_results)),
    ]


def _guarded(handle: Handler) -> Handler:
    """Check key and version first, turn refusals into the wire's errors, and add its headers."""

    async def run(request: web.Request) -> web.StreamResponse:
        account = request.app[STATE].anthropic
        account.served += 1
        request["headers"] = _headers(account)
        try:
            _check_headers(request)
            response = await handle(request)
        except Refusal as refusal:
            response = web.json_response(
                error_body(refusal.kind, refusal.message, request["headers"]["request-id"]), status=refusal.status
            )
        if not response.prepared:
            response.headers.update(request["headers"])
        return response

    return run


def error_body(kind: str, message: str, request_id: str = "req_1", **details: Any) -> dict[str, Any]:
    """Write an error as the wire does."""
    error: dict[str, Any] = {"type": kind, "message": message}
    if details:
        error["details"] = details
    return {"type": "error", "error": error, "request_id": request_id}


def _check_headers(request: web.Request) -> None:
    # Both kinds of key are taken; where both are given, the older one counts.
    key = request.headers.get("x-api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
    if not key or "invalid" in key:
        raise Refusal("invalid x-api-key", status=401, kind="authentication_error")
    version = request.headers.get("anthropic-version")
    if version is None:
        raise Refusal("anthropic-version: header is required")
    if not VERSION.fullmatch(version):
        raise Refusal(f"anthropic-version: {version} is not a valid version")


def _headers(account: AnthropicAccount) -> dict[str, str]:
    reset = stamp(account.now() + 60) or ""
    headers = {
        "request-id": account.name("req"),
        "anthropic-organization-id": "00000000-0000-4000-8000-000000000001",
        "anthropic-workspace-id": "wrkspc_0000000000000001",
    }
    limits = {"requests": (account.requests_a_minute, 1)}
    limits |= dict.fromkeys(("tokens", "input-tokens", "output-tokens"), (2_000_000, 1000))
    for kind, (limit, each) in limits.items():
        headers[f"anthropic-ratelimit-{kind}-limit"] = str(limit)
        headers[f"anthropic-ratelimit-{kind}-remaining"] = str(max(0, limit - each * account.served))
        headers[f"anthropic-ratelimit-{kind}-reset"] = reset
    return headers


def _answering(make: Callable[[web.Request], dict[str, Any]]) -> Handler:
    async def run(request: web.Request) -> web.StreamResponse:
        return web.json_response(make(request))

    return run


async def _body(request: web.Request) -> Any:
    try:
        return json.loads(await request.text())
    except ValueError:
        raise Refusal("The request body is not valid JSON") from None


async def _create(request: web.Request) -> web.StreamResponse:
    state, body = request.app[STATE], await _body(request)
    account = state.anthropic
    facts = check_messages(
        body, version=request.headers["anthropic-version"], today=account.date(), retired=account.retired
    )
    asked_at = account.now()
    count = account.cache.count(body, facts.least_cached, asked_at)
    if state.answers.latency_s:
        await asyncio.sleep(state.answers.latency_s)
    # An entry is there for others only once its answer has begun.
    account.cache.keep(count, asked_at)
    conversation = json.dumps([body.get("system"), body["messages"]])
    answer = state.answers.take(body["model"], conversation) or plain(body)
    message = message_of(say(answer, body, facts, account), answer, body, count, account)
    if body.get("stream"):
        return await _stream(request, message)
    return web.json_response(message)


async def _stream(request: web.Request, message: dict[str, Any]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **request["headers"]})
    await response.prepare(request)
    for name, data in events_of(message):
        await _send(response, name, data)
        if data.get("delta", {}).get("type") != "text_delta":
            continue
        if (error := request.get("stream_error")) is not None:
            await _send(response, "error", {"type": "error", "error": error, "request_id": None})
            return response
        if request.get("cut_stream"):
            await asyncio.sleep(CUT_AFTER_S)
            if request.transport is not None:
                request.transport.abort()
            return response
    return response


async def _send(response: web.StreamResponse, name: str, data: dict[str, Any]) -> None:
    await response.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())


async def _count(request: web.Request) -> web.StreamResponse:
    account, body = request.app[STATE].anthropic, await _body(request)
    check_count(body, version=request.headers["anthropic-version"], today=account.date(), retired=account.retired)
    return web.json_response({"input_tokens": account.cache.count(body, 10**9, account.now()).total})


async def _models(request: web.Request) -> web.StreamResponse:
    account = request.app[STATE].anthropic
    known = [_describe(name) for name in MODELS if not _gone(name, account)]
    ends = {"first_id": known[0]["id"], "last_id": known[-1]["id"]}
    return web.json_response({"data": known, "has_more": False, **ends})


async def _model(request: web.Request) -> web.StreamResponse:
    name = request.match_info["model"]
    if name not in MODELS or _gone(name, request.app[STATE].anthropic):
        raise Refusal(f"model: {name}", status=404, kind="not_found_error")
    return web.json_response(_describe(name))


def _gone(name: str, account: AnthropicAccount) -> bool:
    retires_on = MODELS[name].retires_on
    return name in account.retired or (retires_on is not None and account.date() >= retires_on)


def _describe(name: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": name,
        "display_name": name.replace("-", " ").title(),
        "created_at": "2026-01-01T00:00:00Z",
        "max_tokens": MODELS[name].most_output,
    }


async def _create_batch(request: web.Request) -> web.StreamResponse:
    return web.json_response(batches.create(request, await _body(request)))


async def _results(request: web.Request) -> web.StreamResponse:
    return batches.results(request)
