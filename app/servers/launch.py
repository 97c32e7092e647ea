"""Which embedded servers a system needs, and where they are."""

from __future__ import annotations

from dataclasses import replace

from app.errors import NotConfiguredError
from app.servers.embedded import EmbeddedServer
from app.servers.postgres import EmbeddedPostgres
from app.servers.redis import EmbeddedRedis
from app.settings import Settings


def embedded_servers(settings: Settings) -> list[EmbeddedServer]:
    """List the servers that are ours to run: none where DATABASE_URL and REDIS_URL are set."""
    servers: list[EmbeddedServer] = []
    if not settings.storage.database_url:
        servers.append(EmbeddedPostgres(settings.storage.data_dir))
    if not settings.storage.redis_url:
        servers.append(EmbeddedRedis(settings.storage.data_dir))
    return servers


def with_addresses(settings: Settings) -> Settings:
    """Fill in the addresses of the running embedded servers where the settings name none.

    Raises:
        NotConfiguredError: one that is needed does not run.
    """
    storage = settings.storage
    for server in embedded_servers(settings):
        variable = "DATABASE_URL" if isinstance(server, EmbeddedPostgres) else "REDIS_URL"
        if not server.running:
            raise NotConfiguredError(
                f"{variable} is not set, and no embedded server runs under {storage.data_dir}. "
                f"Set it, or start the system with `batuta up`.",
                setting=variable,
            )
        if variable == "DATABASE_URL":
            storage = replace(storage, database_url=server.url)
        else:
            storage = replace(storage, redis_url=server.url)
    return replace(settings, storage=storage)
