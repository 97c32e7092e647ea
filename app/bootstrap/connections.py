"""Connections to the two servers; each is made when it is first used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from redis import Redis
from redis.asyncio import Redis as LoopRedis
from redis.asyncio.retry import Retry as LoopRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.broker import create_celery
from app.database import create_engine
from app.runs.answers import Answers
from app.runs.ports import HandlerCatalog

if TYPE_CHECKING:
    import sqlalchemy as sa
    from celery import Celery

    from app.settings import Settings

TABLE_MODULES = ("runs", "access", "idempotency", "studio", "assignments", "learning", "chat", "pooling", "assets")
REDIS_CONNECTIONS = 5000  # redis-py 8 caps every pool at 100, and a worker has thousands of steps in flight


def load_tables() -> None:
    """Import every module that declares tables, so that the metadata is whole."""
    for noun in TABLE_MODULES:
        importlib.import_module(f"app.{noun}.tables")


@dataclass
class Connections:
    """Hold the settings, and what connects to PostgreSQL and Redis.

    Args:
        settings: what the environment said, with the servers' addresses filled in.
        handlers: the agents and tools; filled by `build`.
        answers: what callers of each kind of run are answered; filled by `build`.
    """

    settings: Settings
    handlers: HandlerCatalog = field(default_factory=HandlerCatalog)
    answers: Answers = field(default_factory=Answers)

    @cached_property
    def engine(self) -> sa.Engine:
        """The pool of database connections."""
        return create_engine(self.settings.storage)

    @cached_property
    def redis(self) -> Redis:
        """The Redis client."""
        return Redis.from_url(
            self.settings.storage.redis_url,
            max_connections=REDIS_CONNECTIONS,
            socket_connect_timeout=3,
            socket_timeout=10,
            health_check_interval=30,
            retry=retry_once(),
        )

    @cached_property
    def redis_text(self) -> Redis:
        """A client that reads texts."""
        return Redis.from_url(
            self.settings.storage.redis_url,
            decode_responses=True,
            socket_connect_timeout=3,
            socket_timeout=3,
            retry=retry_once(),
        )

    @cached_property
    def loop_redis(self) -> LoopRedis:
        """The client on the worker's loop: a sync one would block every step that waits."""
        return LoopRedis.from_url(
            self.settings.storage.redis_url,
            decode_responses=True,
            max_connections=REDIS_CONNECTIONS,
            retry=LoopRetry(NoBackoff(), 1),
        )

    @cached_property
    def celery(self) -> Celery:
        """The Celery application for sending."""
        return create_celery(lambda: self.settings)


def retry_once() -> Retry:
    """Try a command a second time at once: the connection may have died while it lay in the pool.

    The client's own way waits six seconds for a Redis that is away, and whoever started a run with it.
    """
    return Retry(NoBackoff(), 1)


def libpq_address(database_url: str) -> str:
    """Write SQLAlchemy's address as libpq reads it."""
    return database_url.replace("postgresql+psycopg2://", "postgresql://", 1)
