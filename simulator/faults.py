"""Faults one can order for a route: a status, a body, a delay, a cut connection."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from simulator.log import Entry

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Fault:
    """What goes wrong, where, and how often.

    Args:
        route: beginning of the path it applies to.
        method: only this method; empty for any.
        match: top-level keys of the JSON body that must have these values.
        times: how many requests it hits; None for all that come.
        skip: how many matching requests pass before it begins.
        delay_s: wait first; alone it only makes the route slow.
        status: answer this instead of the route's own answer.
        body: JSON value, or a text sent as it is.
        headers: sent with the answer.
        retry_after: seconds, or a date, for the Retry-After header.
        retry_after_ms: for the retry-after-ms header.
        drop: cut the connection `before` the route does anything, `after` it did everything, or `during` its answer;
            a wire that streams finds `during` as `request["cut_stream"]` and cuts after the first piece, and `after`
            as `request["cut_end"]` and may cut before the last.
        stream_error: in a stream, send this error object after the first piece.
        stream_raw: in a stream, send this text as it is after the first piece, and end; empty only ends.
        stream_delay_s: in a stream, be silent so long after the first piece.
    """

    route: str
    method: str = ""
    match: dict[str, Any] = field(default_factory=dict)
    times: int | None = 1
    skip: int = 0
    delay_s: float = 0.0
    status: int | None = None
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    retry_after: float | str | None = None
    retry_after_ms: float | None = None
    drop: Literal["before", "after", "during"] | None = None
    stream_error: dict[str, Any] | None = None
    stream_raw: str | None = None
    stream_delay_s: float = 0.0

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Fault:
        """Read a fault; an unknown key is an error, or the test would break nothing and pass."""
        unknown = set(raw) - {item.name for item in fields(cls)}
        if unknown:
            raise ValueError(f"unknown keys of a fault: {', '.join(sorted(unknown))}")
        return cls(**raw)

    def concerns(self, entry: Entry) -> bool:
        """Say whether a request is one this fault waits for."""
        body = entry.body if isinstance(entry.body, dict) else {}
        return (
            entry.path.startswith(self.route)
            and self.method.upper() in {"", entry.method}
            and all(body.get(key) == value for key, value in self.match.items())
        )

    def answer(self) -> web.Response:
        """Make the answer that stands in for the route's own."""
        headers = dict(self.headers)
        if self.retry_after is not None:
            headers["Retry-After"] = str(self.retry_after)
        if self.retry_after_ms is not None:
            headers["retry-after-ms"] = str(self.retry_after_ms)
        if isinstance(self.body, str):
            return web.Response(status=self.status or 200, text=self.body, headers=headers)
        headers.setdefault("Content-Type", "application/json")
        body = (
            {"error": {"message": "ordered by the test", "type": "simulated", "code": None}}
            if self.body is None
            else self.body
        )
        return web.Response(status=self.status or 200, body=json.dumps(body).encode(), headers=headers)


@dataclass
class FaultBook:
    """The faults in force, first ordered first."""

    faults: list[Fault] = field(default_factory=list)

    def take(self, entry: Entry) -> Fault | None:
        """Use up one hit of the first fault that concerns a request."""
        for fault in self.faults:
            if not fault.concerns(entry):
                continue
            if fault.skip > 0:
                fault.skip -= 1
                continue
            if fault.times is not None:
                fault.times -= 1
                if fault.times <= 0:
                    self.faults.remove(fault)
            return fault
        return None


async def answer_with(fault: Fault | None, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Handle a request under a fault, or plainly when there is none."""
    if fault is None:
        return await handler(request)
    if fault.delay_s:
        await asyncio.sleep(fault.delay_s)
    # Where whoever asked is gone meanwhile, the next scripted answer may be another test's by now.
    if fault.drop == "before" or request.transport is None or request.transport.is_closing():
        return _cut(request)
    if fault.status is not None or fault.body is not None:
        return fault.answer()
    if fault.stream_error is not None:
        request["stream_error"] = fault.stream_error
    request["stream_raw"], request["stream_delay_s"] = fault.stream_raw, fault.stream_delay_s
    request["cut_stream"], request["cut_end"] = fault.drop == "during", fault.drop == "after"
    response = await handler(request)
    if fault.drop == "after":
        return _cut(request)
    if fault.drop == "during":
        return await _cut_within(request, response)
    return response


def _cut(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=200)  # never arrives


async def _cut_within(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if response.prepared:  # a stream, which looks at `cut_stream` itself
        return response
    body = response.body if isinstance(response, web.Response) and isinstance(response.body, bytes) else b"{}"
    partial = web.StreamResponse(
        status=response.status, headers={"Content-Type": "application/json", "Content-Length": str(len(body) + 1)}
    )
    await partial.prepare(request)
    await partial.write(body[: len(body) // 2])
    await asyncio.sleep(0.02)  # lets the half arrive before the cut
    if request.transport is not None:
        request.transport.abort()
    return partial
