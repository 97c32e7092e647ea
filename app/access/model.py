"""The words of access: scopes, tokens, and the identity a request acts under."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

LOCAL_OWNER = "local"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
TOKEN_PREFIX = "batuta_"  # noqa: S105 - lets scanners of repositories find a leaked one; not a secret


class Scope(StrEnum):
    """What a token may do; `admin` includes `client`."""

    CLIENT = "client"
    ADMIN = "admin"


@dataclass(frozen=True)
class Identity:
    """Who a request acts as.

    Args:
        owner: the name-space of everything it starts or stores.
        name: for people and logs.
        scope: the widest thing it may do.
        is_open: let in without a token, in open loopback mode.
    """

    owner: str
    name: str
    scope: Scope
    is_open: bool = False

    @property
    def is_admin(self) -> bool:
        """Whether it may see and change everybody's."""
        return self.scope is Scope.ADMIN

    @property
    def sees(self) -> str | None:
        """The owner whose things it sees; None for all."""
        return None if self.is_admin else self.owner


@dataclass(frozen=True)
class Token:
    """A stored token, without its secret, which nobody can read back."""

    token_id: str
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked: bool
    expired: bool = False
    use_is_fresh: bool = False

    @property
    def usable(self) -> bool:
        """Whether it still lets anybody in."""
        return not self.revoked and not self.expired

    @property
    def identity(self) -> Identity:
        """What a bearer of it acts as; the id, not the name, is the owner, so that a namesake sees nothing of it."""
        return Identity(owner=self.token_id, name=self.name, scope=self.scope)


@dataclass(frozen=True)
class ConfiguredToken:
    """A token from the environment, kept as a digest."""

    name: str
    scope: Scope
    digest: str

    @property
    def identity(self) -> Identity:
        """What a bearer of it acts as; its name is the owner, so that a new secret keeps the old one's things."""
        return Identity(owner=f"env:{self.name}", name=self.name, scope=self.scope)


def digest_of(secret: str) -> str:
    """Hash a secret: 256 random bits need no salt and no slow function; a database dump gives none back."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def read_configured(entries: Iterable[str]) -> tuple[ConfiguredToken, ...]:
    """Take `API_TOKENS` apart; `Settings` has already checked that each entry reads `name:scope:token`."""
    parts = (entry.split(":", 2) for entry in entries)
    return tuple(ConfiguredToken(name, Scope(scope), digest_of(secret)) for name, scope, secret in parts)


def match_configured(tokens: Iterable[ConfiguredToken], digest: str) -> ConfiguredToken | None:
    """Find the token with a digest, looking at every one of them so that the time says nothing."""
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found
