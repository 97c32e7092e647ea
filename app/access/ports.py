"""What access needs from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from app.access.model import Scope, Token


class TokenStore(Protocol):
    """Where tokens are kept, as digests."""

    def add_token(self, name: str, scope: Scope, digest: str, expires_at: datetime | None) -> Token:
        """Keep a new token."""

    def find_token(self, digest: str) -> Token | None:
        """Give the token with a digest, whatever its state."""

    def list_tokens(self) -> list[Token]:
        """Give all tokens, newest first."""

    def has_tokens(self) -> bool:
        """Whether there is a token that is not revoked; an expired one counts, so that expiry opens nothing."""

    def revoke_token(self, token_id: str) -> bool:
        """Mark a token as revoked; False when there is none with the id."""

    def note_use(self, token_id: str) -> None:
        """Write down that a token was used now."""
