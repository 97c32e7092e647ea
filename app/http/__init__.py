"""Door 1: HTTP. `create_app` makes the Flask application around the composed one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g
from flask_smorest import Api

from app import __version__
from app.errors import StorageAwayError
from app.http import (
    assets,
    assignments,
    catalog,
    chat,
    health,
    identity,
    pages,
    problems,
    runs,
    stats,
    studio,
    tokens,
    workflows,
)
from app.http.application import EXTENSION
from app.http.bodies import BODY_LENGTH_MAX
from app.http.schemas import ProblemSchema
from app.http.stopping import close_on_stop
from app.http.traffic import register as count_requests
from app.http.waiting import EXTENSION as WAITING
from app.http.waiting import WaitingRoom
from app.logs import set_up_logs
from app.tracing import set_up_tracing

if TYPE_CHECKING:
    from app.bootstrap import Application

RESOURCES = (
    health.resource,
    studio.resource,
    assignments.resource,
    workflows.resource,
    catalog.resource,
    chat.resource,
    runs.resource,
    assets.resource,
    stats.resource,
    tokens.resource,
)
UNREACHABLE: tuple[type[Exception], ...] = (StorageAwayError, *problems.AWAY)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class DoorApi(Api):  # type: ignore[misc]  # flask-smorest ships no types
    """flask-smorest's document, with problems in place of its own errors."""

    ERROR_SCHEMA = ProblemSchema

    def _register_responses(self) -> None:
        # flask-smorest writes its error responses with the default type; ours have one of their own.
        self.DEFAULT_RESPONSE_CONTENT_TYPE = problems.MEDIA_TYPE
        super()._register_responses()
        del self.DEFAULT_RESPONSE_CONTENT_TYPE

    def _register_error_handlers(self) -> None:
        problems.register(self._app)


def create_app(application: Application | None = None) -> Flask:
    """Make the web application.

    Args:
        application: the composed one; None builds it from the environment, as a web server's factory call does.

    Raises:
        SettingsError: the environment cannot be used, or would let strangers in.
    """
    if application is None:
        composed = _build()
        set_up_logs(composed.settings.log_level, composed.settings.log_format)
        set_up_tracing(composed.settings.otlp_endpoint, "batuta-web")
        app = create_app(composed)
        close_on_stop(app.extensions[WAITING])
        return app
    _refuse_open_bind(application)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LENGTH_MAX + 1
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.extensions[EXTENSION] = application
    app.extensions[WAITING] = WaitingRoom(application.settings.web.threads // 2)
    count_requests(app)
    identity.register(app)
    app.after_request(_finish)
    api = DoorApi(app, spec_kwargs=_document())
    for resource in RESOURCES:
        api.register_blueprint(resource.blueprint)
    pages.register(app, api.spec.to_dict)
    return app


def _build() -> Application:
    from app.bootstrap import build  # noqa: PLC0415 - whoever brings an application of their own needs no drivers
    from app.settings import Settings  # noqa: PLC0415

    return build(Settings.from_env(os.environ))


def _refuse_open_bind(application: Application) -> None:
    try:
        application.tokens.refuse_open_bind()
    except UNREACHABLE:
        # Nothing is let in while the question is open: identity asks it again at every request.
        return


def _document() -> dict[str, Any]:
    return {
        "title": "Batuta",
        "version": __version__,
        "openapi_version": "3.1.0",
        "info": {"description": "One durable engine for AI agents. Errors are application/problem+json."},
        "components": {"securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }


def _finish(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.get("request_id", "")
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
