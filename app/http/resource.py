"""Declare routes: what one reads, answers and demands stands in one value, and the documents come from it.

A thin, typed layer over flask-smorest: its decorators parse and document, ours decide the order
(identity, body, key, view) and say the same of every route.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from flask import Response, current_app, g
from flask import request as flask_request
from flask_smorest import Blueprint
from webargs.flaskparser import FlaskParser

from app.access.model import Scope
from app.errors import InvalidError
from app.http import bodies
from app.http.answers import MEDIA_TYPE, answer_json
from app.http.keys import answer_keyed
from app.http.problems import flatten
from app.http.schemas import AcceptedSchema, KeyHeaderSchema, RunHeadersSchema

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from marshmallow import Schema, ValidationError
    from werkzeug import Request

EVENT_STREAM = "text/event-stream"
EVENT = {
    "type": "object",
    "description": "One event; `data` is JSON: run_id, at, type, step_key, data.",
    "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": {"type": "string"}},
}
PAGE_HEADERS = {
    "X-Pagination": {
        "schema": {"type": "string"},
        "description": "JSON: total, total_pages, page, page_size, previous_page, next_page.",
    }
}
View = TypeVar("View", bound="Callable[..., Any]")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a route demands.

    Args:
        is_open: served without a token.
        on_loopback: served without a token to who calls from this machine itself, as monitors do.
        scope: the least scope that may use it.
        signed: a signature in the query stands in for a token; the view judges it.
        tolerant: one of the users' own routes: curl's form type and no content type are read as JSON.
    """

    is_open: bool = False
    on_loopback: bool = False
    signed: bool = False
    scope: Scope = Scope.CLIENT
    tolerant: bool = False


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method on one path.

    Args:
        answer: schema of the answer; None for no content, or for `media` other than JSON.
        many: the answer is an array.
        body: schema of the body; every POST has one, if only to refuse what is not JSON.
        query: schema of the query.
        headers: schema of headers it reads, besides those every POST reads.
        paged: answers with `X-Pagination`.
        starts_run: understands `Prefer`, and may answer 202.
        streams: may answer with server-sent events in place of its JSON.
        keeps_key: the view honours the `Idempotency-Key` itself, in the transaction of what it does.
        also: other statuses it answers, with their schemas.
        problems: statuses it may answer besides those that follow from the rest.
        secrets: fields of the answer that are shown once and not kept for a repeated key.
    """

    path: str
    method: str = "GET"
    answer: type[Schema] | None = None
    status: int = 200
    many: bool = False
    media: str = MEDIA_TYPE
    body: type[Schema] | None = None
    query: type[Schema] | None = None
    headers: type[Schema] | None = None
    paged: bool = False
    starts_run: bool = False
    streams: bool = False
    keeps_key: bool = False
    also: Mapping[int, type[Schema]] = field(default_factory=dict)
    problems: tuple[int, ...] = ()
    secrets: tuple[str, ...] = ()
    rule: Rule = field(default_factory=Rule)


class DoorParser(FlaskParser):
    """Read arguments by our rules and complain in our errors."""

    def load_json(self, req: Request, schema: Schema) -> Any:
        """Read the body strictly; how tolerantly, is the route's to say.

        A schema that also takes another type than JSON brings a `read_body` of its own.
        """
        read = getattr(schema, "read_body", None)
        g.body = read(req) if read else bodies.read_json(req, tolerant=rule_of(flask_request.endpoint).tolerant)
        return g.body

    def handle_error(
        self, error: ValidationError, req: Request, schema: Schema, *, error_status_code: Any, error_headers: Any
    ) -> NoReturn:
        """Raise our own error, its fields named as the caller names them."""
        del req, schema, error_status_code, error_headers
        by_location = error.messages_dict.values()
        raise InvalidError(errors={name: said for inner in by_location for name, said in flatten(inner).items()})


class DoorBlueprint(Blueprint):  # type: ignore[misc]  # flask-smorest ships no types
    """flask-smorest's blueprint with our parser."""

    ARGUMENTS_PARSER = DoorParser()


class Resource:
    """A group of routes under one heading of the documents.

    Args:
        name: the heading.
        description: one sentence for it.
    """

    def __init__(self, name: str, description: str) -> None:
        self.blueprint = DoorBlueprint(name, __name__, description=description)

    def serves(self, route: Route) -> Callable[[View], View]:
        """Register a view; it is called with the path's parts and with what the route reads: query, headers, body."""

        def decorate(view: View) -> View:
            handler = self._documented(route, _prepare(route, view))
            handler.door_route = route
            self.blueprint.add_url_rule(
                route.path, endpoint=f"{view.__name__}", view_func=handler, methods=[route.method]
            )
            return view

        return decorate

    def _documented(self, route: Route, handler: Any) -> Any:
        blueprint = self.blueprint
        for location, read in reversed(_arguments(route)):
            required = any(field.required for field in read().fields.values())
            handler = blueprint.arguments(read, location=location, required=required)(handler)
        answer = _answer_schema(route)
        headers = PAGE_HEADERS if route.paged else None
        handler = blueprint.response(route.status, answer, content_type=route.media, headers=headers)(handler)
        if route.starts_run:
            accepted = blueprint.alt_response(202, schema=AcceptedSchema, description="It goes on.", success=True)
            handler = accepted(handler)
        for status, schema in route.also.items():
            handler = blueprint.alt_response(status, schema=schema, success=True)(handler)
        for status in _problem_statuses(route):
            handler = blueprint.alt_response(status, response=HTTPStatus(status).name)(handler)
        if route.streams:
            both = {route.media: {"schema": answer}, EVENT_STREAM: {"schema": EVENT}}
            said = {"description": HTTPStatus(route.status).phrase, "content": both}
            handler = blueprint.doc(responses={str(route.status): said})(handler)
        security: list[dict[str, list[str]]] = [] if route.rule.is_open else [{"bearer": []}]
        return blueprint.doc(security=security)(handler)


def _answer_schema(route: Route) -> Any:
    if route.media == EVENT_STREAM:
        return EVENT
    return route.answer(many=route.many) if route.answer else None


def rule_of(endpoint: str | None) -> Rule:
    """Give what a route demands; one that never said so demands an administrator."""
    view = current_app.view_functions.get(endpoint or "")
    route = getattr(view, "door_route", None)
    return route.rule if isinstance(route, Route) else Rule(scope=Scope.ADMIN)


def _arguments(route: Route) -> list[tuple[str, type[Schema]]]:
    """List what a route reads; the order in which it is parsed and handed to the view."""
    headers = route.headers
    if route.method == "POST":
        headers = RunHeadersSchema if route.starts_run else KeyHeaderSchema
    named = [("query", route.query), ("headers", headers), ("json", route.body)]
    return [(location, schema) for location, schema in named if schema is not None]


def _prepare(route: Route, view: Callable[..., Any]) -> Any:
    names = ["body" if location == "json" else location for location, _ in _arguments(route)]

    def handler(*parsed: Any, **path: Any) -> Response:
        given = dict(zip(names, parsed, strict=True))
        if route.method == "POST":
            g.idempotency_key = given.pop("headers").get("idempotency_key")
        if route.method != "POST" or route.starts_run or route.keeps_key:
            return as_response(view(**given, **path), route.status)
        return answer_keyed(partial(_call, view, route.status, {**given, **path}), route.secrets)

    handler.__name__ = view.__name__
    handler.__doc__ = view.__doc__
    return handler


def _call(view: Callable[..., Any], status: int, given: dict[str, Any]) -> Response:
    return as_response(view(**given), status)


def as_response(result: Any, status: int) -> Response:
    """Make a response of what a view gave: one already, or JSON, or JSON with headers."""
    if isinstance(result, Response):
        return result
    body, headers = result if isinstance(result, tuple) else (result, None)
    if status == HTTPStatus.NO_CONTENT:
        return Response(status=status)
    return answer_json(body, status, headers)


def _problem_statuses(route: Route) -> list[int]:
    statuses = set(route.problems)
    if not route.rule.is_open:
        statuses |= {401, 403, 503}
    if route.body is not None:
        statuses |= {400, 413, 415, 422}
    if route.method == "POST":
        statuses |= {409, 422}
    if route.query is not None or route.headers is not None:
        statuses |= {400, 422}
    if "<" in route.path:
        statuses |= {404}
    return sorted(statuses - set(route.also))
