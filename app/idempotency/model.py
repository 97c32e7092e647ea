"""The words of idempotency: a keyed request, what came of it, and when two bodies are the same."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

EXACT_INTEGER_MAX = 2**53
"""Beyond this a float does not know which whole number it is."""


@dataclass(frozen=True)
class KeyedRequest:
    """A request that named an `Idempotency-Key`.

    Args:
        owner: whose key it is.
        route: method and path; the same key on another path is another key.
        key: as sent.
        body_hash: from `hash_body`.
    """

    owner: str
    route: str
    key: str
    body_hash: str


@dataclass(frozen=True)
class Outcome:
    """What a keyed request came to: a run, whose answer is the run's, or an answer of its own.

    Args:
        run_id: the run it started or joined.
        status: HTTP status of an answer without a run.
        response: its JSON.
        replayed: an earlier request did it, not this one.
    """

    run_id: str | None = None
    status: int | None = None
    response: Any = None
    replayed: bool = False


@dataclass(frozen=True)
class Entry:
    """A stored key.

    Args:
        claim_id: who works on it; an older claim can no longer write.
        working: nothing has come of it yet.
        stale: it has been worked on for so long that its worker must be dead.
    """

    body_hash: str
    claim_id: str
    working: bool
    stale: bool
    outcome: Outcome


def hash_body(body: Any) -> str:
    """Hash a JSON value so that equal values, and only those, have equal hashes.

    The order of an object's keys does not count, and 1.0 is 1.
    """
    return hashlib.sha256(orjson.dumps(_canonical(body), option=orjson.OPT_SORT_KEYS)).hexdigest()


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT_INTEGER_MAX:
        return int(value)
    return value
