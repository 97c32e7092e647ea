"""Serve the documents: `/openapi.json`, and `/docs` from assets on this machine."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, send_file
from werkzeug.exceptions import NotFound

from app.http.answers import MEDIA_TYPE, dump
from app.http.resource import Route, Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

OPEN = Route(path="", rule=Rule(is_open=True))
ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript", "favicon-32x32.png": "image/png"}
ASSET_AGE_S = 86_400
# Swagger UI writes style attributes while it runs, so styles cannot be held to files; scripts are.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Batuta: HTTP API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = """window.addEventListener("load", function () {
  window.ui = SwaggerUIBundle({
    url: "/openapi.json",
    dom_id: "#docs",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    tryItOutEnabled: true,
    validatorUrl: null
  });
});
"""


def register(app: Flask, specification: Callable[[], dict[str, Any]]) -> None:
    """Add the pages to an app.

    Args:
        app: the app.
        specification: makes the OpenAPI document; asked once, at the first request for it.
    """
    written: list[bytes] = []

    def openapi_json() -> Response:
        """Show the OpenAPI document."""
        if not written:
            written.append(dump(specification()))
        return Response(written[0], content_type=MEDIA_TYPE)

    blueprint = Blueprint("pages", __name__)
    for path, view in {
        "/openapi.json": openapi_json,
        "/docs": docs_page,
        "/docs/start.js": docs_start,
        "/docs/<name>": docs_asset,
    }.items():
        blueprint.add_url_rule(path, view.__name__, _opened(view))
    app.register_blueprint(blueprint)


def docs_page() -> Response:
    """Show the documents in a browser."""
    return Response(PAGE, content_type="text/html; charset=utf-8", headers={"Content-Security-Policy": CONTENT_POLICY})


def docs_start() -> Response:
    """Give the script that starts the page; in a file of its own, so that the page's policy can forbid inline ones."""
    return Response(START, content_type="text/javascript; charset=utf-8")


def docs_asset(name: str) -> Response:
    """Give one of Swagger UI's files.

    Raises:
        NotFound: it is not one that the page uses.
    """
    if name not in ASSETS:
        raise NotFound
    response = send_file(asset_folder() / name, mimetype=ASSETS[name], max_age=ASSET_AGE_S)
    # Only changed, never dropped: the middle of the app makes everything else uncached.
    response.headers["Cache-Control"] = f"public, max-age={ASSET_AGE_S}"
    return response


@cache
def asset_folder() -> Path:
    """Find Swagger UI's files in the wheel that carries them, without importing its code."""
    found = find_spec("swagger_ui")
    if found is None or not found.submodule_search_locations:
        raise NotFound("swagger-ui-py is not installed.")
    return Path(found.submodule_search_locations[0]) / "static"


def _opened(view: Any) -> Any:
    def opened(**path: str) -> Response:
        response: Response = view(**path)
        return response

    opened.door_route = OPEN  # type: ignore[attr-defined]
    opened.__doc__ = view.__doc__
    return opened
