"""`batuta token`: make, list and revoke tokens, straight in the database."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from app.access.model import Scope
from app.access.service import TokenService
from app.commands.storage import composed, reachable_servers
from app.schema import upgrade_schema
from app.settings import Settings


@contextlib.contextmanager
def open_tokens(settings: Settings) -> Iterator[TokenService]:
    """Lend the token service on a migrated database; an embedded one is started if need be."""
    with reachable_servers(settings) as addressed:
        upgrade_schema(addressed.storage.database_url)
        with composed(addressed) as application:
            yield application.tokens


def create_token(settings: Settings, name: str, scope: str, console: Console) -> None:
    """Make a token and print it, this once."""
    with open_tokens(settings) as tokens:
        token, secret = tokens.create_token(name, Scope(scope))
    console.print(
        f"Token {escape(token.name)} ({token.scope}), id {token.token_id}. It is shown this once:", soft_wrap=True
    )
    console.print(secret, soft_wrap=True, highlight=False)


def list_tokens(settings: Settings, console: Console) -> None:
    """Print the stored tokens, without their secrets."""
    table = Table(box=None)
    for heading in ("id", "name", "scope", "created", "last used", "state"):
        table.add_column(heading, no_wrap=heading == "id")
    with open_tokens(settings) as tokens:
        for token in tokens.list_tokens():
            state = "revoked" if token.revoked else "expired" if token.expired else "usable"
            used = token.last_used_at.isoformat(timespec="seconds") if token.last_used_at else "never"
            created = token.created_at.isoformat(timespec="seconds")
            table.add_row(token.token_id, escape(token.name), token.scope, created, used, state)
    console.print(table)


def revoke_token(settings: Settings, token_id: str, console: Console) -> None:
    """Shut a token out from the next request on."""
    with open_tokens(settings) as tokens:
        tokens.revoke_token(token_id)
    console.print(f"Token {escape(token_id)} is revoked.")
