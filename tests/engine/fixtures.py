"""Fixtures over real worker processes; a conftest takes in what it needs by import."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg2
import pytest
import redis

from tests.conftest import Servers
from tests.engine.trial import Trial, open_trial

SHARED_REDIS = 255  # of a module at a time; single tests take turns from 1 on and seldom come so far


@pytest.fixture(scope="module")
def crew(servers: Servers, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A system with two workers for a whole module; tests look at runs of their own and leave the workers alone."""
    with _cloned(servers, template) as database_url:
        environment = {"DATABASE_URL": database_url, "REDIS_URL": _emptied(servers.redis.url_of(SHARED_REDIS))}
        with open_trial(environment, tmp_path_factory.mktemp("crew")) as opened:
            opened.workers.start(2)
            yield opened


@pytest.fixture
def trial(database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A system of the test's own, without workers yet."""
    environment = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    with open_trial(environment, tmp_path_factory.mktemp("trial")) as opened:
        yield opened


@pytest.fixture
def own_trial(own_servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A system on servers of its own, which the test may kill; without workers yet."""
    environment = {"DATABASE_URL": own_servers.postgres.url, "REDIS_URL": own_servers.redis.url}
    with open_trial(environment, tmp_path_factory.mktemp("own-trial")) as opened:
        yield opened


@contextmanager
def _cloned(servers: Servers, template: str) -> Iterator[str]:
    name = f"crew_{uuid.uuid4().hex}"
    _administer(servers, f'create database "{name}" template "{template}"')
    try:
        yield servers.postgres.url_of(name)
    finally:
        _administer(servers, f'drop database "{name}" with (force)')


def _administer(servers: Servers, statement: str) -> None:
    connection = psycopg2.connect(servers.postgres.url_of("postgres").replace("+psycopg2", ""))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
    finally:
        connection.close()


def _emptied(url: str) -> str:
    client = redis.Redis.from_url(url)
    client.flushdb()
    client.close()
    return url
