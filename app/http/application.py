"""Reach the composed application and the request's identity from a view."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app, g

if TYPE_CHECKING:
    from app.access.model import Identity
    from app.bootstrap import Application

EXTENSION = "batuta"


def application() -> Application:
    """Give the application that `create_app` was handed."""
    return cast("Application", current_app.extensions[EXTENSION])


def identity() -> Identity:
    """Give who the request acts as; judged before any view runs."""
    return cast("Identity", g.identity)


def request_id() -> str:
    """Give the id this request is known under in logs and answers."""
    return str(g.get("request_id", ""))
