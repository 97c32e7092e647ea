"""Count requests and time them; the counts are the web process's own."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from flask import Flask, Response, current_app, g, request

from app.telemetry.traffic import Traffic

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

EXTENSION = "batuta.traffic"
NO_ROUTE = "none"


def register(app: Flask) -> None:
    """Count every request of an app from now on."""
    app.extensions[EXTENSION] = Traffic()
    app.before_request(_begin)
    app.after_request(_note)


def traffic() -> Traffic:
    """Give what was counted."""
    return cast("Traffic", current_app.extensions[EXTENSION])


def _begin() -> ResponseReturnValue | None:
    g.began = time.perf_counter()
    return None


def _note(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule is not None else NO_ROUTE
    method = request.method if request.url_rule is not None else NO_ROUTE  # callers can send any word for a method
    traffic().note(method, route, response.status_code, time.perf_counter() - g.get("began", time.perf_counter()))
    return response
