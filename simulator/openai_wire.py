"""OpenAI's wire as OpenAI, OpenRouter, Google's compatible endpoint and a server of one's own speak it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator.openai_account import GOOGLE_WIRE, OPENAI_WIRE, OPENROUTER_WIRE, OWN_WIRE, OpenAIAccount, Wire
from simulator.openai_batches import (
    cancel,
    create_batch,
    find_batch,
    find_file,
    move_on,
    show_batch,
    show_file,
    show_page,
    take_file,
)
from simulator.openai_chat import answer_chat, json_answer
from simulator.openai_embeddings import embed
from simulator.openai_refusals import Refusal, gone, no_credit, no_key, too_fast
from simulator.state import STATE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from simulator.openai_models import ModelFacts

    Handle = Callable[[web.Request, Wire, OpenAIAccount], Awaitable[web.StreamResponse]]

MOST_LISTED = 100
MILLION = 1_000_000


def routes(wire: Wire) -> list[web.RouteDef]:
    """List the routes of one server."""
    prefix = wire.prefix
    found = [
        web.post(f"{prefix}/chat/completions", _guarded(wire, _chat)),
        web.post(f"{prefix}/embeddings", _guarded(wire, _embed)),
        web.get(f"{prefix}/models", _guarded(wire, _models, metered=False)),
        web.get(f"{prefix}/models/{{model:.+}}", _guarded(wire, _model, metered=False)),
    ]
    if wire is OPENROUTER_WIRE:
        found.append(web.get(f"{prefix}/key", _guarded(wire, _key, metered=False)))
    return [*found, *_batch_routes(wire)] if wire is OPENAI_WIRE else found


def _batch_routes(wire: Wire) -> list[web.RouteDef]:
    prefix = wire.prefix
    return [
        web.post(f"{prefix}/files", _guarded(wire, _take_file)),
        web.get(f"{prefix}/files/{{file}}", _guarded(wire, _show_file)),
        web.get(f"{prefix}/files/{{file}}/content", _guarded(wire, _file_content)),
        web.delete(f"{prefix}/files/{{file}}", _guarded(wire, _delete_file)),
        web.post(f"{prefix}/batches", _guarded(wire, _create_batch)),
        web.get(f"{prefix}/batches", _guarded(wire, _list_batches)),
        web.get(f"{prefix}/batches/{{batch}}", _guarded(wire, _read_batch)),
        web.post(f"{prefix}/batches/{{batch}}/cancel", _guarded(wire, _cancel_batch)),
    ]


def _guarded(
    wire: Wire, handle: Handle, *, metered: bool = True
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """Check key, credit and rate first, and write refusals as the server does."""

    async def run(request: web.Request) -> web.StreamResponse:
        account = request.app[STATE].wires[wire.name]
        try:
            authorization = request.headers.get("Authorization", "")
            if wire is not OWN_WIRE and (not authorization.startswith("Bearer ") or "invalid" in authorization):
                raise no_key(wire)
            if metered and account.exhausted:
                raise no_credit(wire)
            wait_s = account.wait_s() if metered else 0.0
            if wait_s:
                raise too_fast(wire, wait_s)
            return await handle(request, wire, account)
        except Refusal as refusal:
            return refusal.answer(wire, account.name("req_"))

    return run


async def _chat(request: web.Request, wire: Wire, account: OpenAIAccount) -> web.StreamResponse:
    return await answer_chat(request, wire, account, request.app[STATE].answers)


async def _embed(request: web.Request, wire: Wire, account: OpenAIAccount) -> web.Response:
    book = request.app[STATE].answers
    answer = embed(request, wire, account, book)
    if book.latency_s:
        await asyncio.sleep(book.latency_s)
    return json_answer(answer, account)


def _served(wire: Wire, account: OpenAIAccount) -> dict[str, ModelFacts]:
    today = account.date()
    return {
        name: facts
        for name, facts in wire.models.items()
        if name not in account.retired and (facts.retires_on is None or today < facts.retires_on)
    }


async def _models(_request: web.Request, wire: Wire, account: OpenAIAccount) -> web.Response:
    data = [_shown_model(name, facts, wire) for name, facts in _served(wire, account).items()]
    return json_answer({"object": "list", "data": data}, account)


async def _model(request: web.Request, wire: Wire, account: OpenAIAccount) -> web.Response:
    name = request.match_info["model"]
    facts = _served(wire, account).get(name)
    if facts is None:
        raise gone(wire, name)
    return json_answer(_shown_model(name, facts, wire), account)


def _shown_model(name: str, facts: ModelFacts, wire: Wire) -> dict[str, Any]:
    """Describe a model; OpenRouter tells prices, as text, in dollars a token."""
    if wire is GOOGLE_WIRE:
        return {"id": f"models/{name}", "object": "model", "owned_by": "google"}
    if wire is not OPENROUTER_WIRE:
        return {"id": name, "object": "model", "created": 0, "owned_by": "openai"}
    prompt, completion, cached = (f"{dollars / MILLION:.10f}".rstrip("0") for dollars in facts.dollars)
    return {
        "id": name,
        "name": name,
        "created": 0,
        "context_length": facts.context,
        "pricing": {"prompt": prompt, "completion": completion, "input_cache_read": cached, "request": "0"},
        "supported_parameters": ["max_tokens", "temperature", "top_p", "tools", "response_format"],
    }


async def _key(_request: web.Request, _wire: Wire, account: OpenAIAccount) -> web.Response:
    left = 0.0 if account.exhausted else None
    data = {"label": "simulated", "usage": account.cost_usd, "limit": None, "limit_remaining": left}
    return json_answer({"data": {**data, "is_free_tier": False}}, account)


async def _take_file(request: web.Request, _wire: Wire, account: OpenAIAccount) -> web.Response:
    return json_answer(await take_file(request, account), account)


async def _show_file(request: web.Request, _wire: Wire, account: OpenAIAccount) -> web.Response:
    return json_answer(show_file(find_file(account, request.match_info["file"])), account)


async def _file_content(request: web.Request, _wire: Wire, account: OpenAIAccount) -> web.Response:
    file = find_file(account, request.match_info["file"])
    return web.Response(body=file.content, content_type="application/octet-stream")


async def _delete_file(request: web.Request, _wire: Wire, account: OpenAIAccount) -> web.Response:
    file = account.files.pop(find_file(account, request.match_info["file"]).file_id)
    return json_answer({"id": file.file_id, "object": "file", "deleted": True}, account)


async def _create_batch(request: web.Request, _wire: Wire, account: OpenAIAccount) -> web.Response:
    return json_answer(show_batch(create_batch(request["body"], account)), account)


async def _list_batches(request: web.Request, wire: Wire, account: OpenAIAccount) -> web.Response:
    for batch in account.batches.values():
        move_on(batch, wire, account, request.app[STATE].answers)
    limit = min(MOST_LISTED, int(request.query.get("limit", "20")))
    return json_answer(show_page(account, request.query.get("after", ""), limit), account)


async def _read_batch(request: web.Request, wire: Wire, account: OpenAIAccount) -> web.Response:
    batch = find_batch(account, request.match_info["batch"])
    move_on(batch, wire, account, request.app[STATE].answers)
    return json_answer(show_batch(batch), account)


async def _cancel_batch(request: web.Request, wire: Wire, account: OpenAIAccount) -> web.Response:
    batch = find_batch(account, request.match_info["batch"])
    move_on(batch, wire, account, request.app[STATE].answers)
    cancel(batch)
    return json_answer(show_batch(batch), account)
