"""What idempotency needs from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from app.idempotency.model import Entry, KeyedRequest, Outcome


class KeyStore(Protocol):
    """Where keys are kept."""

    def transaction(self) -> AbstractContextManager[Connection]:
        """Open a transaction that an effect can share."""

    def claim_key(self, connection: Connection, request: KeyedRequest) -> str | None:
        """Insert the key, or take over an expired one; None when another request holds it.

        Waits while the other's transaction is under way.
        """

    def read_key(self, connection: Connection, request: KeyedRequest) -> Entry | None:
        """Read a key as it stands; None when it is gone."""

    def take_over(self, connection: Connection, request: KeyedRequest, claim_id: str) -> str | None:
        """Replace a dead worker's claim by a new one; None when somebody else was faster."""

    def settle_key(self, connection: Connection, request: KeyedRequest, claim_id: str, outcome: Outcome) -> bool:
        """Write what came of it; False when the claim is no longer the holder's."""

    def release_key(self, connection: Connection, request: KeyedRequest, claim_id: str) -> None:
        """Forget a key that nothing came of."""

    def purge_expired(self, connection: Connection) -> int:
        """Drop expired keys; give their number."""
