"""Lend a database to a command, also while the system is not running."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

from app.servers import EmbeddedPostgres
from app.settings import Settings


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
