"""Turn every error into one `application/problem+json` answer (RFC 9457).

`STATUSES` is the one place where error classes meet HTTP statuses.
"""

from __future__ import annotations

import logging
import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import redis.exceptions
import sqlalchemy.exc
from flask import Flask, Response, g
from kombu.exceptions import OperationalError as BrokerError
from marshmallow import ValidationError
from werkzeug.exceptions import HTTPException

from app import errors
from app.http.answers import dump
from app.http.application import request_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:batuta:problem:"

STATUSES: dict[type[BaseException], HTTPStatus] = {
    errors.InvalidError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.DocumentInvalidError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.MalformedError: HTTPStatus.BAD_REQUEST,
    errors.TooLargeError: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    errors.UnsupportedMediaError: HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    errors.UnauthenticatedError: HTTPStatus.UNAUTHORIZED,
    errors.ForbiddenError: HTTPStatus.FORBIDDEN,
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.ConflictError: HTTPStatus.CONFLICT,
    errors.RequestError: HTTPStatus.BAD_REQUEST,
    errors.NotConfiguredError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.OverloadedError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.StorageAwayError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.UnavailableError: HTTPStatus.SERVICE_UNAVAILABLE,
    # A step's error reaches HTTP only where a route calls a provider itself; a run keeps its own.
    errors.TransientError: HTTPStatus.BAD_GATEWAY,
    errors.ResourceError: HTTPStatus.BAD_GATEWAY,
    errors.LogicalError: HTTPStatus.BAD_GATEWAY,
    errors.PersistentError: HTTPStatus.BAD_GATEWAY,
    errors.FatalError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.StepError: HTTPStatus.BAD_GATEWAY,
    errors.StepParked: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.SettingsError: HTTPStatus.INTERNAL_SERVER_ERROR,
    errors.BatutaError: HTTPStatus.INTERNAL_SERVER_ERROR,
}
BROKER_AWAY: tuple[type[Exception], ...] = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    BrokerError,
)
AWAY: tuple[type[Exception], ...] = (
    sqlalchemy.exc.OperationalError,
    sqlalchemy.exc.InterfaceError,
    sqlalchemy.exc.TimeoutError,
    *BROKER_AWAY,
)
"""What the drivers raise when a server does not answer or a pool is used up."""

_HTTP_CODES = {
    HTTPStatus.BAD_REQUEST: "bad_request",
    HTTPStatus.NOT_FOUND: "not_found",
    HTTPStatus.METHOD_NOT_ALLOWED: "method_not_allowed",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: errors.TooLargeError.code,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: errors.UnsupportedMediaError.code,
}
_HTTP_DETAILS = {
    HTTPStatus.NOT_FOUND: "There is no such route; /docs shows all that there are.",
    HTTPStatus.METHOD_NOT_ALLOWED: "This route does not take that method; `Allow` names what it takes.",
}


def status_of(error: BaseException) -> HTTPStatus:
    """Look an error's status up by its class, then by the nearest class it comes from."""
    return next((STATUSES[cls] for cls in type(error).__mro__ if cls in STATUSES), HTTPStatus.INTERNAL_SERVER_ERROR)


def register(app: Flask) -> None:
    """Let every error of an app, ours or not, answer as a problem."""
    app.register_error_handler(Exception, answer_error)
    app.register_error_handler(HTTPException, answer_error)


def answer_error(error: Exception) -> Response:
    """Make the answer for an error; one that nobody foresaw is logged and says nothing about its cause."""
    if isinstance(error, AWAY):
        logger.warning("request %s: a server is away: %s", request_id(), type(error).__name__)
        error = errors.StorageAwayError("The database or the broker does not answer at the moment.")
    if isinstance(error, ValidationError):
        error = errors.InvalidError(errors=flatten(error.messages_dict))
    if isinstance(error, HTTPException):
        return _answer_http_exception(error)
    status = status_of(error)
    if status is HTTPStatus.INTERNAL_SERVER_ERROR or not isinstance(error, errors.BatutaError):
        logger.error("request %s failed", request_id(), exc_info=error)
        return make_problem(
            status, "internal_error", "Something went wrong on our side; the request_id finds it in the log."
        )
    return make_problem(
        status,
        error.code,
        error.message or status.description,
        messages=getattr(error, "errors", None),
        headers=_headers_of(error),
    )


def make_problem(
    status: HTTPStatus,
    code: str,
    detail: str,
    *,
    messages: Mapping[str, list[str]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Write one problem.

    Args:
        status: the HTTP status.
        code: a stable slug.
        detail: a sentence for a person; no trace, secret or internal address.
        messages: field (dotted path) to messages.
        headers: further headers of the answer.
    """
    g.problem_code = code
    payload = {
        "type": TYPE_PREFIX + code,
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
        "errors": dict(messages or {}),
        "request_id": request_id(),
    }
    return Response(dump(payload), status=status.value, content_type=MEDIA_TYPE, headers=dict(headers or {}))


def flatten(messages: Any) -> dict[str, list[str]]:
    """Bring marshmallow's nested messages to dotted paths: `structures.0.skeleton`."""
    return dict(_walk(messages, ""))


def _walk(messages: Any, path: str) -> Iterator[tuple[str, list[str]]]:
    if isinstance(messages, dict):
        for name, inner in messages.items():
            # `_schema` is marshmallow's name for: the object as a whole.
            step = "" if name == "_schema" else str(name)
            yield from _walk(inner, ".".join(part for part in (path, step) if part))
    else:
        listed = messages if isinstance(messages, list) else [messages]
        yield path or "body", [str(message) for message in listed]


def _headers_of(error: errors.BatutaError) -> dict[str, str]:
    if isinstance(error, errors.UnauthenticatedError):
        return {"WWW-Authenticate": 'Bearer realm="batuta"'}
    if isinstance(error, errors.UnavailableError):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    return {}


def _answer_http_exception(error: HTTPException) -> Response:
    code = error.code or HTTPStatus.INTERNAL_SERVER_ERROR.value
    if code < HTTPStatus.BAD_REQUEST.value:  # a redirect of the router's
        return Response(status=code, headers={"Location": error.get_response().headers.get("Location", "/")})
    status = HTTPStatus(code)
    kept = {name: value for name, value in error.get_headers() if name == "Allow"}
    slug = _HTTP_CODES.get(status, status.phrase.lower().replace(" ", "_"))
    detail = _HTTP_DETAILS.get(status) or error.description or status.description
    return make_problem(status, slug, detail, headers=kept)
