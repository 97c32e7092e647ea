"""Judge who calls, before anything of the request is read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flask import Flask, g, request

from app.access.model import LOOPBACK_HOSTS, Scope
from app.errors import ForbiddenError, MalformedError, NotFoundError
from app.http.application import application
from app.http.resource import rule_of
from app.logs import tell_about
from app.runs.model import new_run_id

if TYPE_CHECKING:
    from app.access.model import Identity
    from app.http.resource import Rule

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")


def register(app: Flask) -> None:
    """Put the judgement before every request of an app."""
    app.before_request(take_request_id)
    app.before_request(refuse_nul)
    app.before_request(judge_identity)


def take_request_id() -> None:
    """Keep the caller's `X-Request-Id` when it is harmless in a log, else make one."""
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else new_run_id()
    tell_about(request=g.request_id)


def refuse_nul() -> None:
    """Refuse NUL in paths and queries; PostgreSQL has no such character.

    Raises:
        NotFoundError: in the path, where nothing can have such a name.
        MalformedError: in the query.
    """
    if "\x00" in request.path:
        raise NotFoundError("There is nothing under this path.")
    if any("\x00" in text for pair in request.args.items(multi=True) for text in pair):
        raise MalformedError("The query holds a NUL character.", code="bad_request")


def judge_identity() -> None:
    """Set `g.identity`, or refuse.

    Raises:
        UnauthenticatedError: no bearer token where one is demanded.
        ForbiddenError: an unknown token, too small a scope, or a foreign page in open loopback mode.
    """
    if request.url_rule is None or request.method == "OPTIONS":
        return  # 404, 405 and the list of methods tell nobody anything
    rule = rule_of(request.endpoint)
    if rule.is_open:
        return
    if rule.on_loopback and _calls_from_here():
        _refuse_foreign_pages()
        return
    if rule.signed and "signature" in request.args:
        return
    identity = application().tokens.identify(request.headers.get("Authorization"))
    if identity.is_open:
        _refuse_foreign_pages()
    _refuse_small_scope(identity, rule)
    g.identity = identity


def _calls_from_here() -> bool:
    """Say whether the caller is a program on this machine; behind a proxy on it, everybody would seem to be."""
    forwarded = any(name in request.headers for name in ("Forwarded", "X-Forwarded-For", "Via"))
    return request.remote_addr in LOOPBACK_HOSTS and not forwarded and "Authorization" not in request.headers


def _refuse_small_scope(identity: Identity, rule: Rule) -> None:
    if rule.scope is Scope.ADMIN and not identity.is_admin:
        raise ForbiddenError("This needs a token of scope admin.", code="scope_too_small")


def _refuse_foreign_pages() -> None:
    """Keep pages in the owner's browser from using a service that trusts whoever reaches it.

    A foreign name that points at 127.0.0.1 shows in Host, a foreign page in Origin.
    """
    if not _is_loopback(f"//{request.host}"):
        raise ForbiddenError("Without tokens only loopback names are served.", code="foreign_host")
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit_host(origin) != request.host.lower():
        raise ForbiddenError("Without tokens pages of other origins are refused.", code="foreign_origin")
    # A browser says so itself where it sends no Origin, as with a picture's address or a link.
    if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
        raise ForbiddenError("Without tokens pages of other sites are refused.", code="foreign_origin")


def _is_loopback(address: str) -> bool:
    try:
        return urlsplit(address).hostname in LOOPBACK_HOSTS
    except ValueError:
        return False


def urlsplit_host(origin: str) -> str:
    """Give host and port of an origin; empty for one that has none, such as `null`."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
