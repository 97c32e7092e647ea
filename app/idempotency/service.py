"""Use cases of idempotency: do a thing once under a key, and tell later callers what came of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from app.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from app.idempotency.model import Entry, KeyedRequest, Outcome
    from app.idempotency.ports import KeyStore

POLL_S = 0.1
PATIENCE_S = 30.0
"""How long a second caller waits for the first one's answer before it is told to come again."""


class IdempotencyService:
    """Answer the same key and body once.

    Args:
        store: where keys are kept.
        patience_s: how long a second caller waits while the first works.
        sleep: replaced in tests.
    """

    def __init__(
        self, store: KeyStore, *, patience_s: float = PATIENCE_S, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._store = store
        self._patience_s = patience_s
        self._sleep = sleep

    def start_once(self, request: KeyedRequest, start: Callable[[Connection], Outcome]) -> Outcome:
        """Start a run in the key's own transaction: either both are there or neither.

        Args:
            request: the request and its key.
            start: writes the effect through the connection it is given; what it raises gives the key back.

        Returns:
            What `start` made, or what the key's first request made (`replayed`).

        Raises:
            ConflictError: the key was used with another body.
        """
        with self._store.transaction() as connection:
            claim_id = self._store.claim_key(connection, request)
            if claim_id is not None:
                outcome = start(connection)
                self._store.settle_key(connection, request, claim_id, outcome)
                return outcome
        return self._earlier_outcome(request)

    def answer_once(self, request: KeyedRequest, act: Callable[[], Outcome]) -> Outcome:
        """Do something with transactions of its own under a key.

        The key is claimed first and settled afterwards; a process that dies in between leaves a claim that
        a later request takes over, so the effect is done at least once, and twice only after such a death.

        Raises:
            ConflictError: the key was used with another body, or its first request still works.
        """
        claim_id = self._claim_or_take_over(request)
        if claim_id is None:
            return self._earlier_outcome(request)
        try:
            outcome = act()
        except BaseException:
            with self._store.transaction() as connection:
                self._store.release_key(connection, request, claim_id)
            raise
        with self._store.transaction() as connection:
            self._store.settle_key(connection, request, claim_id, outcome)
        return outcome

    def purge_expired(self) -> int:
        """Drop keys that are over their time; give their number."""
        with self._store.transaction() as connection:
            return self._store.purge_expired(connection)

    def _claim_or_take_over(self, request: KeyedRequest) -> str | None:
        with self._store.transaction() as connection:
            claim_id = self._store.claim_key(connection, request)
            if claim_id is not None:
                return claim_id
            entry = self._store.read_key(connection, request)
            if entry is None or not (entry.working and entry.stale):
                return None
            _refuse_other_body(entry, request)
            return self._store.take_over(connection, request, entry.claim_id)

    def _earlier_outcome(self, request: KeyedRequest) -> Outcome:
        waited_s = 0.0
        while True:
            with self._store.transaction() as connection:
                entry = self._store.read_key(connection, request)
            if entry is None:
                raise ConflictError(
                    "The first request under this Idempotency-Key has just failed; send it again.",
                    code="idempotency_key_released",
                )
            _refuse_other_body(entry, request)
            if not entry.working:
                return entry.outcome
            if waited_s >= self._patience_s:
                raise ConflictError(
                    "The first request under this Idempotency-Key is still being worked on; send it again later.",
                    code="idempotency_key_in_use",
                )
            self._sleep(POLL_S)
            waited_s += POLL_S


def _refuse_other_body(entry: Entry, request: KeyedRequest) -> None:
    if entry.body_hash != request.body_hash:
        raise ConflictError(
            "This Idempotency-Key was used with another body; take a new key.", code="idempotency_key_reused"
        )
