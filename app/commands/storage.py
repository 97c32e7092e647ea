"""Lend servers, and what is composed on them, to a command; also while the system is not running."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from app.bootstrap import Application
from app.schema import upgrade_schema
from app.servers.launch import embedded_servers, with_addresses
from app.settings import Settings


@contextlib.contextmanager
def reachable_servers(settings: Settings) -> Iterator[Settings]:
    """Lend settings whose servers answer: an embedded one is started if need be, and then stopped again."""
    with contextlib.ExitStack() as stack:
        for server in embedded_servers(settings):
            if not server.running:
                stack.callback(server.stop)
                server.start()
        yield with_addresses(settings)


@contextlib.contextmanager
def composed(settings: Settings) -> Iterator[Application]:
    """Lend the composed system on servers that answer, with its connections closed afterwards."""
    application = Application(settings)
    try:
        yield application
    finally:
        application.engine.dispose()
        application.redis.close()


def prepare_database(settings: Settings) -> int:
    """Bring the database to the newest schema, and give an empty one its first structures.

    Args:
        settings: with every address filled in.

    Returns:
        How many structures were put in.
    """
    upgrade_schema(settings.storage.database_url)
    with composed(settings) as application:
        return application.studio.prepare_catalogue()
