"""Idempotency keys in PostgreSQL."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from app.idempotency.model import Entry, KeyedRequest, Outcome
from app.idempotency.tables import idempotency

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

KEPT_S = 24 * 3600
STALE_S = 60
"""A request that works without a run (a like, a token) takes milliseconds; after this long its process is dead."""

_NOW = sa.func.clock_timestamp()


def _seconds(count: float) -> sa.ColumnElement[Any]:
    return sa.func.make_interval(0, 0, 0, 0, 0, 0, count)


class PgKeyStore:
    """Keep keys in the `idempotency` table; the database's clock judges age."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def transaction(self) -> AbstractContextManager[sa.Connection]:
        """Open a transaction that an effect can share."""
        return self._engine.begin()

    def claim_key(self, connection: sa.Connection, request: KeyedRequest) -> str | None:
        """Insert the key, or take over an expired one; None when another request holds it."""
        values = _fresh(request)
        statement = (
            insert(idempotency)
            .values(owner=request.owner, route=request.route, key=request.key, **values)
            .on_conflict_do_update(
                index_elements=["owner", "route", "key"],
                set_={**values, "run_id": None, "status": None, "response": None},
                where=idempotency.c.expires_at <= _NOW,
            )
            .returning(idempotency.c.claim_id)
        )
        return connection.execute(statement).scalar_one_or_none()

    def read_key(self, connection: sa.Connection, request: KeyedRequest) -> Entry | None:
        """Read a key as it stands; None when it is gone."""
        statement = sa.select(idempotency, (idempotency.c.claimed_at < _NOW - _seconds(STALE_S)).label("stale")).where(
            *_same(request)
        )
        row = connection.execute(statement).mappings().one_or_none()
        if row is None:
            return None
        return Entry(
            body_hash=row["body_hash"],
            claim_id=row["claim_id"],
            working=row["run_id"] is None and row["status"] is None,
            stale=row["stale"],
            outcome=Outcome(row["run_id"], row["status"], row["response"], replayed=True),
        )

    def take_over(self, connection: sa.Connection, request: KeyedRequest, claim_id: str) -> str | None:
        """Replace a dead worker's claim by a new one; None when somebody else was faster."""
        statement = (
            idempotency.update().where(*_same(request), idempotency.c.claim_id == claim_id).values(**_fresh(request))
        )
        return connection.execute(statement.returning(idempotency.c.claim_id)).scalar_one_or_none()

    def settle_key(self, connection: sa.Connection, request: KeyedRequest, claim_id: str, outcome: Outcome) -> bool:
        """Write what came of it; False when the claim is no longer the holder's."""
        statement = (
            idempotency.update()
            .where(*_same(request), idempotency.c.claim_id == claim_id)
            .values(run_id=outcome.run_id, status=outcome.status, response=outcome.response)
        )
        return connection.execute(statement.returning(idempotency.c.claim_id)).first() is not None

    def release_key(self, connection: sa.Connection, request: KeyedRequest, claim_id: str) -> None:
        """Forget a key that nothing came of."""
        connection.execute(idempotency.delete().where(*_same(request), idempotency.c.claim_id == claim_id))

    def purge_expired(self, connection: sa.Connection) -> int:
        """Drop expired keys; give their number."""
        return connection.execute(idempotency.delete().where(idempotency.c.expires_at <= _NOW)).rowcount


def _fresh(request: KeyedRequest) -> dict[str, Any]:
    return {
        "body_hash": request.body_hash,
        "claim_id": str(uuid.uuid4()),
        "claimed_at": _NOW,
        "expires_at": _NOW + _seconds(KEPT_S),
    }


def _same(request: KeyedRequest) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        idempotency.c.owner == request.owner,
        idempotency.c.route == request.route,
        idempotency.c.key == request.key,
    )
