"""Real servers for every test that asks: PostgreSQL 18 with pgvector and Redis, started once a session.

`database_url` is a database of the test's own, cloned from a migrated template; `redis_url` an empty numbered
database of the test's own. Tests that kill servers take `own_servers` instead, which nobody else uses.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2
import pytest
import redis
import sqlalchemy as sa

from app.database import create_engine
from app.schema import upgrade_schema
from app.servers import EmbeddedPostgres, EmbeddedRedis
from app.settings import Settings

pytest_plugins = ["tests.simulator_fixtures"]

TEMPLATE = "batuta_template"
REDIS_DATABASES = 256
TURNS = range(1, 240)  # one a test, in turn; those above belong to systems that a whole module shares
# Nearly every test has a database made: in memory, and copied by files, that takes a tenth of the time.
SHARED_MEMORY = Path("/dev/shm")
ROOM = 4 * 1024**3  # bytes; containers often have 64 MB there


@dataclass(frozen=True)
class Servers:
    """A PostgreSQL and a Redis that a test may address."""

    postgres: EmbeddedPostgres
    redis: EmbeddedRedis

    def settings(self, **variables: str) -> Settings:
        """Read settings that point at these servers; keyword arguments are environment variables."""
        addresses = {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url}
        return Settings.from_env({**addresses, **variables})


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The session's servers. They end with the session, also when it is killed."""
    yield from _run_servers("batuta-test-")


@pytest.fixture
def own_servers() -> Iterator[Servers]:
    """A migrated pair for one test alone, to be killed, stopped, emptied and started at will."""
    for pair in _run_servers("batuta-own-"):
        upgrade_schema(pair.postgres.url)
        yield pair


@pytest.fixture(scope="session")
def template(servers: Servers) -> str:
    """The name of the migrated database that others are cloned from."""
    _run_admin(servers.postgres, f'create database "{TEMPLATE}"')
    upgrade_schema(servers.postgres.url_of(TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database_url(servers: Servers, template: str) -> Iterator[str]:
    """A fresh migrated database."""
    with cloned_database(servers, template) as url:
        yield url


@pytest.fixture
def redis_url(servers: Servers) -> str:
    """A numbered database of Redis, emptied."""
    return emptied(servers.redis.url_of(next(_redis_numbers)))


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path) -> Settings:
    """Default settings on the test's own databases and folder."""
    return Settings.from_env({"DATABASE_URL": database_url, "REDIS_URL": redis_url, "DATA_DIR": str(tmp_path)})


@pytest.fixture
def engine(settings: Settings) -> Iterator[sa.Engine]:
    """A pool of connections to the test's own database."""
    pool = create_engine(settings.storage)
    yield pool
    pool.dispose()


@contextmanager
def cloned_database(servers: Servers, template: str) -> Iterator[str]:
    """A migrated database for as long as its block lasts."""
    name = f"test_{uuid.uuid4().hex}"
    _run_admin(servers.postgres, f'create database "{name}" template "{template}" strategy file_copy')
    try:
        yield servers.postgres.url_of(name)
    finally:
        _run_admin(servers.postgres, f'drop database if exists "{name}" with (force)')


def emptied(redis_url: str) -> str:
    """The same address, with nothing left behind it."""
    client = redis.Redis.from_url(redis_url)
    client.flushdb()
    client.close()
    return redis_url


_redis_numbers = itertools.cycle(TURNS)


def _run_servers(prefix: str) -> Iterator[Servers]:
    place = _quick_place()
    _sweep(place, prefix)
    folder = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=place))
    postgres = EmbeddedPostgres(folder, durable=False, die_with_parent=True)
    memory = EmbeddedRedis(folder, databases=REDIS_DATABASES, die_with_parent=True)
    try:
        postgres.start()
        memory.start()
        yield Servers(postgres, memory)
    finally:
        postgres.stop()
        memory.stop()
        shutil.rmtree(folder)


def _quick_place() -> Path | None:
    """Where memory serves as a disk and has room; None where nothing does."""
    roomy = SHARED_MEMORY.is_dir() and shutil.disk_usage(SHARED_MEMORY).free > ROOM
    return SHARED_MEMORY if roomy and os.access(SHARED_MEMORY, os.W_OK) else None


def _sweep(place: Path | None, prefix: str) -> None:
    """Take away what tests that were killed have left in memory."""
    for folder in place.glob(f"{prefix}*-*") if place else ():
        pid = folder.name.removeprefix(prefix).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _run_admin(postgres: EmbeddedPostgres, statement: str) -> None:
    connection = psycopg2.connect(postgres.url_of("postgres").replace("+psycopg2", ""))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()
