"""Honour `Idempotency-Key` on every POST."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
from flask import Response, g, request

from app.http.answers import answer_json
from app.http.application import application, identity
from app.idempotency.model import KeyedRequest, Outcome, hash_body

if TYPE_CHECKING:
    from collections.abc import Callable

REPLAYED = {"Idempotency-Replayed": "true"}


def keyed_request() -> KeyedRequest | None:
    """Give the request as its key sees it; None when it names no key."""
    key = g.get("idempotency_key")
    if key is None:
        return None
    said = g.get("body", {})
    if request.args:  # a template's options stand there
        said = [said, sorted(map(list, request.args.items(multi=True)))]
    return KeyedRequest(identity().owner, f"{request.method} {request.path}", key, hash_body(said))


def answer_keyed(act: Callable[[], Response], secrets: tuple[str, ...] = ()) -> Response:
    """Run a view that starts no run, or give the answer its key already has.

    Args:
        act: runs the view.
        secrets: fields that are blanked in what is kept; a repeated request gets null for them.
    """
    keyed = keyed_request()
    if keyed is None:
        return act()
    fresh: list[Response] = []

    def once() -> Outcome:
        response = act()
        fresh.append(response)
        kept = orjson.loads(response.get_data() or b"null")
        return Outcome(status=response.status_code, response=_without(kept, secrets))

    outcome = application().idempotency.answer_once(keyed, once)
    return fresh[0] if fresh else replay(outcome)


def replay(outcome: Outcome) -> Response:
    """Answer once more what a key's first request was answered."""
    status = outcome.status or 200
    if outcome.response is None:
        return Response(status=status, headers=REPLAYED)
    return answer_json(outcome.response, status, REPLAYED)


def _without(kept: object, secrets: tuple[str, ...]) -> object:
    if not isinstance(kept, dict):
        return kept
    return {name: None if name in secrets else value for name, value in kept.items()}
