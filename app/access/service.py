"""Use cases of access: judge a request, make, list and revoke tokens."""

from __future__ import annotations

import secrets
import time
import uuid
from typing import TYPE_CHECKING

from app.access.model import (
    LOCAL_OWNER,
    LOOPBACK_HOSTS,
    TOKEN_PREFIX,
    Identity,
    Scope,
    Token,
    digest_of,
    match_configured,
    read_configured,
)
from app.errors import ForbiddenError, InvalidError, NotFoundError, SettingsError, UnauthenticatedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from app.access.ports import TokenStore

NAME_LENGTH = 100
SECRET_BYTES = 32
SECRET_LENGTH_MAX = 512
"""No token is longer; what is gets refused before it is hashed."""

OPEN_FOR_S = 1.0
"""How long "there is no token" is believed. Asked of the database at every request it cost a like more than its own
transaction did; so the open door of a loopback address shuts this long after another process made the first token,
and at once where this one did."""

OPEN_BIND = (
    "HOST is not a loopback address and there is no token, so whoever reaches this machine could use it. "
    "Set API_TOKENS, or make a token with `batuta token create NAME --scope admin`, or set HOST=127.0.0.1."
)


class TokenService:
    """Judge bearer tokens and look after the stored ones.

    Args:
        store: where tokens are kept.
        configured: the entries of `API_TOKENS`.
        host: the address the web process binds to; only a loopback one may be open.
        now: seconds on a clock that only goes forward.
    """

    def __init__(
        self,
        store: TokenStore,
        *,
        configured: Iterable[str] = (),
        host: str = "127.0.0.1",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._configured = read_configured(configured)
        self._is_loopback = host in LOOPBACK_HOSTS
        self._now = now
        self._open_until = 0.0

    def identify(self, authorization: str | None) -> Identity:
        """Tell who a request acts as.

        Args:
            authorization: the header's value, if there is one.

        Raises:
            UnauthenticatedError: no bearer token, where one is demanded.
            ForbiddenError: a token that is unknown, revoked or expired.
        """
        if authorization is None:
            return self._let_in_without_token()
        scheme, _, secret = authorization.strip().partition(" ")
        if scheme.lower() != "bearer" or not secret.strip():
            raise UnauthenticatedError("The Authorization header must read: Bearer TOKEN.")
        return self._judge(secret.strip())

    def create_token(self, name: str, scope: Scope, expires_at: datetime | None = None) -> tuple[Token, str]:
        """Make a token.

        Returns:
            The token, and its secret, which is shown this once and kept nowhere.

        Raises:
            InvalidError: the name is empty or too long.
        """
        name = name.strip()
        if not 1 <= len(name) <= NAME_LENGTH:
            raise InvalidError(errors={"name": [f"Must have 1 to {NAME_LENGTH} characters."]})
        secret = TOKEN_PREFIX + secrets.token_urlsafe(SECRET_BYTES)
        token = self._store.add_token(name, scope, digest_of(secret), expires_at)
        self._open_until = 0.0
        return token, secret

    def list_tokens(self) -> list[Token]:
        """Give all stored tokens, newest first; those of the environment are not among them."""
        return self._store.list_tokens()

    def revoke_token(self, token_id: str) -> None:
        """Shut a token out from the next request on; doing it again changes nothing.

        Raises:
            NotFoundError: there is no stored token with the id.
        """
        if not _is_uuid(token_id) or not self._store.revoke_token(token_id):
            raise NotFoundError(f"There is no token {token_id[:64]!r}.", code="token_not_found")

    def has_tokens(self) -> bool:
        """Whether any token exists, in the environment or stored and not revoked."""
        return bool(self._configured) or self._store.has_tokens()

    def refuse_open_bind(self) -> None:
        """Stop a start that would serve strangers.

        Raises:
            SettingsError: the bind address is not loopback, and there is no token.
        """
        if not self._is_loopback and not self.has_tokens():
            raise SettingsError([OPEN_BIND])

    def _let_in_without_token(self) -> Identity:
        if not self._is_loopback or not self._is_open():
            raise UnauthenticatedError("This route needs a token: Authorization: Bearer TOKEN.")
        return Identity(owner=LOCAL_OWNER, name=LOCAL_OWNER, scope=Scope.ADMIN, is_open=True)

    def _is_open(self) -> bool:
        now = self._now()
        if now < self._open_until:
            return True
        if self.has_tokens():
            return False
        self._open_until = now + OPEN_FOR_S
        return True

    def _judge(self, secret: str) -> Identity:
        if len(secret) > SECRET_LENGTH_MAX:
            raise ForbiddenError("The token is not known.")
        digest = digest_of(secret)
        configured = match_configured(self._configured, digest)
        if configured is not None:
            return configured.identity
        token = self._store.find_token(digest)
        # One sentence for the three cases: which one it is, is nothing a stranger should learn.
        if token is None or not token.usable:
            raise ForbiddenError("The token is not known, is revoked, or has expired.")
        if not token.use_is_fresh:
            self._store.note_use(token.token_id)
        return token.identity


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
