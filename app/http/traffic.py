"""Count requests, time them, and begin their traces; the counts are the web process's own."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

from flask import Flask, Response, current_app, g, request
from opentelemetry.trace import SpanKind

from app.telemetry.traffic import Traffic
from app.tracing import HEADER, span

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

EXTENSION = "batuta.traffic"
NO_ROUTE = "none"


def register(app: Flask) -> None:
    """Count every request of an app from now on."""
    app.extensions[EXTENSION] = Traffic()
    app.before_request(_begin)
    app.after_request(_note)
    app.teardown_request(_end)


def traffic() -> Traffic:
    """Give what was counted."""
    return cast("Traffic", current_app.extensions[EXTENSION])


def _begin() -> ResponseReturnValue | None:
    g.began = time.perf_counter()
    method, route = _place()
    facts = {"http.request.method": method, "http.route": route}
    g.spans = ExitStack()
    traced = span(f"{method} {route}", facts, kind=SpanKind.SERVER, parent=request.headers.get(HEADER))
    g.span = g.spans.enter_context(traced)
    return None


def _end(_: BaseException | None) -> None:
    spans = g.pop("spans", None)
    if spans is not None:
        spans.close()


def _place() -> tuple[str, str]:
    """Give method and route; callers can send any word for a method where there is no route."""
    return (NO_ROUTE, NO_ROUTE) if request.url_rule is None else (request.method, request.url_rule.rule)


def _note(response: Response) -> Response:
    method, route = _place()
    if "span" in g:
        g.span.set_attribute("http.response.status_code", response.status_code)
    traffic().note(method, route, response.status_code, time.perf_counter() - g.get("began", time.perf_counter()))
    return response
