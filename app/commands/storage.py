"""Find the database and the broker: those that the settings name, or the embedded ones."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from app.servers import EmbeddedPostgres, EmbeddedRedis
from app.servers.embedded import EmbeddedServer
from app.settings import Settings


def embedded_servers(settings: Settings) -> list[EmbeddedServer]:
    """List the servers that are ours to run: none where DATABASE_URL and REDIS_URL are set."""
    servers: list[EmbeddedServer] = []
    if not settings.storage.database_url:
        servers.append(EmbeddedPostgres(settings.storage.data_dir))
    if not settings.storage.redis_url:
        servers.append(EmbeddedRedis(settings.storage.data_dir))
    return servers


def address_embedded(settings: Settings) -> Settings:
    """Fill in the addresses of embedded servers that run.

    Raises:
        StorageAwayError: one that is needed does not run.
    """
    storage = settings.storage
    for server in embedded_servers(settings):
        if isinstance(server, EmbeddedPostgres):
            storage = replace(storage, database_url=server.url)
        else:
            storage = replace(storage, redis_url=server.url)
    return replace(settings, storage=storage)


@contextlib.contextmanager
def reachable_database(settings: Settings) -> Iterator[Settings]:
    """Lend settings with a database that answers: an embedded one is started if need be, and then stopped again."""
    if settings.storage.database_url:
        yield settings
        return
    server = EmbeddedPostgres(settings.storage.data_dir)
    was_running = server.running
    try:
        yield replace(settings, storage=replace(settings.storage, database_url=server.start()))
    finally:
        if not was_running:
            server.stop()
