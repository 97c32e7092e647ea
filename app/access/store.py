"""Tokens in PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.access.model import Scope, Token
from app.access.tables import tokens

if TYPE_CHECKING:
    from datetime import datetime

USE_RESOLUTION_S = 60
"""`last_used_at` is this exact: a write for every request would cost more than what it tells."""

_NOW = sa.func.clock_timestamp()
_COLUMNS = (
    tokens.c.token_id,
    tokens.c.name,
    tokens.c.scope,
    tokens.c.created_at,
    tokens.c.expires_at,
    tokens.c.last_used_at,
    tokens.c.revoked_at.is_not(None).label("revoked"),
    sa.func.coalesce(tokens.c.expires_at <= _NOW, sa.false()).label("expired"),
    sa.func.coalesce(
        tokens.c.last_used_at > _NOW - sa.func.make_interval(0, 0, 0, 0, 0, 0, USE_RESOLUTION_S), sa.false()
    ).label("use_is_fresh"),
)


class PgTokenStore:
    """Keep tokens in the `tokens` table; the database's clock judges what has expired."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def add_token(self, name: str, scope: Scope, digest: str, expires_at: datetime | None) -> Token:
        """Keep a new token."""
        statement = tokens.insert().values(name=name, scope=scope, digest=digest, expires_at=expires_at)
        with self._engine.begin() as connection:
            return _token(connection.execute(statement.returning(*_COLUMNS)).mappings().one())

    def find_token(self, digest: str) -> Token | None:
        """Give the token with a digest, whatever its state."""
        with self._engine.connect() as connection:
            row = connection.execute(sa.select(*_COLUMNS).where(tokens.c.digest == digest)).mappings().one_or_none()
        return None if row is None else _token(row)

    def list_tokens(self) -> list[Token]:
        """Give all tokens, newest first."""
        statement = sa.select(*_COLUMNS).order_by(tokens.c.created_at.desc(), tokens.c.token_id)
        with self._engine.connect() as connection:
            return [_token(row) for row in connection.execute(statement).mappings()]

    def has_tokens(self) -> bool:
        """Whether there is a token that is not revoked; an expired one counts, so that expiry opens nothing."""
        statement = sa.select(sa.exists().where(tokens.c.revoked_at.is_(None)))
        with self._engine.connect() as connection:
            return bool(connection.execute(statement).scalar_one())

    def revoke_token(self, token_id: str) -> bool:
        """Mark a token as revoked, once; False when there is none with the id."""
        statement = (
            tokens.update()
            .where(tokens.c.token_id == token_id)
            .values(revoked_at=sa.func.coalesce(tokens.c.revoked_at, _NOW))
        )
        with self._engine.begin() as connection:
            return connection.execute(statement.returning(tokens.c.token_id)).first() is not None

    def note_use(self, token_id: str) -> None:
        """Write down that a token was used now."""
        with self._engine.begin() as connection:
            connection.execute(tokens.update().where(tokens.c.token_id == token_id).values(last_used_at=_NOW))


def _token(row: sa.RowMapping) -> Token:
    values: dict[str, Any] = dict(row)
    values["scope"] = Scope(values["scope"])
    return Token(**values)
