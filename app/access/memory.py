"""Tokens in memory, for tests of what stands on the port."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.access.model import Token

if TYPE_CHECKING:
    from app.access.model import Scope


class MemoryTokenStore:
    """Keep tokens in a dictionary; the contract's tests run over this and over PostgreSQL."""

    def __init__(self) -> None:
        self._tokens: dict[str, Token] = {}

    def add_token(self, name: str, scope: Scope, digest: str, expires_at: datetime | None) -> Token:
        """Keep a new token."""
        token = Token(str(uuid.uuid4()), name, scope, datetime.now(UTC), expires_at, None, revoked=False)
        self._tokens[digest] = token
        return token

    def find_token(self, digest: str) -> Token | None:
        """Give the token with a digest, whatever its state."""
        token = self._tokens.get(digest)
        if token is None or token.expires_at is None:
            return token
        return replace(token, expired=token.expires_at <= datetime.now(UTC))

    def list_tokens(self) -> list[Token]:
        """Give all tokens, newest first."""
        return list(reversed(self._tokens.values()))

    def has_tokens(self) -> bool:
        """Whether there is a token that is not revoked."""
        return any(not token.revoked for token in self._tokens.values())

    def revoke_token(self, token_id: str) -> bool:
        """Mark a token as revoked; False when there is none with the id."""
        return self._change(token_id, revoked=True)

    def note_use(self, token_id: str) -> None:
        """Write down that a token was used now."""
        self._change(token_id, last_used_at=datetime.now(UTC), use_is_fresh=True)

    def _change(self, token_id: str, **changes: object) -> bool:
        for digest, token in self._tokens.items():
            if token.token_id == token_id:
                self._tokens[digest] = replace(token, **changes)  # type: ignore[arg-type]  # names checked by replace
                return True
        return False
