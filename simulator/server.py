"""Put the wires together into one server, with a log and faults around them."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aiohttp import web

from simulator import airtable, anthropic_wire, google_media, openai_wire, siblings
from simulator.answers import Answer
from simulator.faults import Fault, answer_with
from simulator.openai_account import WIRES
from simulator.state import STATE, State

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

MOST_BYTES = 16 * 1024 * 1024


def build_app() -> web.Application:
    """Make a simulator with an empty memory.

    `/slow` and the test's own `/_…` routes pass by log and faults: the first must stay cheap, the second must work.
    """
    app = web.Application(middlewares=[_log_and_break], client_max_size=MOST_BYTES)
    app[STATE] = State()
    app.add_routes(_CONTROL)
    for wire in WIRES:
        app.add_routes(openai_wire.routes(wire))
    app.add_routes(anthropic_wire.routes("/anthropic"))
    app.add_routes(google_media.routes("/google"))
    app.add_routes(airtable.routes("/airtable"))
    app.add_routes(siblings.routes())
    return app


@web.middleware
async def _log_and_break(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    if request.path == "/slow" or request.path.startswith("/_"):
        return await _answer_control(request, handler)
    state = request.app[STATE]
    started = time.monotonic()
    entry = await state.log.add(request)
    request["body"] = entry.body
    fault = state.faults.take(entry)
    response = await answer_with(fault, request, handler)
    entry.duration_s = time.monotonic() - started
    entry.status = 0 if fault is not None and fault.drop else response.status
    return response


async def _answer_control(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except (ValueError, TypeError, KeyError) as error:
        return web.json_response({"error": f"{type(error).__name__}: {error}"}, status=400)


async def _slow(request: web.Request) -> web.Response:
    """Answer after `seconds`, with `size` bytes of padding; any method."""
    counter = request.app[STATE].slow
    seconds = float(request.query.get("seconds", "1"))
    counter.open += 1
    counter.peak = max(counter.peak, counter.open)
    try:
        await asyncio.sleep(seconds)
    finally:
        counter.open -= 1
    counter.served += 1
    body = {"waited_s": seconds, "text": "x" * int(request.query.get("size", "0"))}
    return web.Response(body=json.dumps(body).encode(), content_type="application/json")


async def _slow_counts(request: web.Request) -> web.Response:
    return web.json_response(asdict(request.app[STATE].slow))


async def _receive_callback(request: web.Request) -> web.Response:
    """Take any POST; headers and raw text stand in the log."""
    return web.json_response({"received": request.match_info["name"]})


async def _show_log(request: web.Request) -> web.Response:
    entries = request.app[STATE].log.find(request.query.get("route", ""), request.query.get("method", ""))
    return web.json_response({"count": len(entries), "entries": entries})


async def _order_fault(request: web.Request) -> web.Response:
    body = await request.json()
    faults = [Fault.from_json(raw) for raw in (body if isinstance(body, list) else [body])]
    request.app[STATE].faults.faults.extend(faults)
    return web.json_response({"faults": len(request.app[STATE].faults.faults)})


async def _script_answer(request: web.Request) -> web.Response:
    body = await request.json()
    answers = [Answer.from_json(raw) for raw in (body if isinstance(body, list) else [body])]
    request.app[STATE].answers.answers.extend(answers)
    return web.json_response({"answers": len(request.app[STATE].answers.answers)})


async def _reset(request: web.Request) -> web.Response:
    request.app[STATE].reset()
    return web.json_response({"reset": True})


async def _configure(request: web.Request) -> web.Response:
    request.app[STATE].configure(await request.json())
    return web.json_response({"configured": True})


async def _seed_airtable(request: web.Request) -> web.Response:
    body: dict[str, Any] = await request.json()
    return web.json_response(request.app[STATE].airtable.seed(body["base"], body["tables"]))


async def _health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "healthy"})


_CONTROL = [
    web.route("*", "/slow", _slow),
    web.get("/_slow", _slow_counts),
    web.post("/callbacks/{name:.*}", _receive_callback),
    web.get("/_log", _show_log),
    web.post("/_faults", _order_fault),
    web.post("/_answers", _script_answer),
    web.post("/_reset", _reset),
    web.post("/_settings", _configure),
    web.post("/_airtable", _seed_airtable),
    web.get("/_health", _health),
]
