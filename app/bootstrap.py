"""The one composition root: every collaborator is made and handed over here, lazily connected, never at import."""

from __future__ import annotations

import importlib
import uuid
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import redis

from app.broker import create_celery
from app.database import create_engine
from app.runs.answers import Answers
from app.runs.celery_sender import CelerySender, RedisQueueDepths
from app.runs.listening import RunListener
from app.runs.outbox import CallbackDelivery, CallbackPolicy
from app.runs.ports import HandlerCatalog
from app.runs.publishing import EffectPublisher
from app.runs.service import RunService
from app.runs.store import PgRunStore
from app.runs.streams import EventStream
from app.runs.worker import StepWorker, WorkerParts

if TYPE_CHECKING:
    from collections.abc import Callable

    import sqlalchemy as sa
    from celery import Celery

    from app.settings import Settings

TABLE_MODULES = ("runs", "access", "idempotency", "studio")
REDIS_CONNECTIONS = 5000  # redis-py 8 caps every pool at 100, and a worker has thousands of steps in flight
SECONDS_AN_HOUR = 3600


def load_tables() -> None:
    """Import every module that declares tables, so that the metadata is whole."""
    for noun in TABLE_MODULES:
        importlib.import_module(f"app.{noun}.tables")


@dataclass
class Application:
    """The composed system; parts connect when they are first used.

    Args:
        settings: what the environment said, with the servers' addresses filled in.
    """

    settings: Settings
    handlers: HandlerCatalog = field(default_factory=HandlerCatalog)
    answers: Answers = field(default_factory=Answers)

    @cached_property
    def engine(self) -> sa.Engine:
        """The pool of database connections."""
        return create_engine(self.settings.storage)

    @cached_property
    def redis(self) -> redis.Redis:
        """The Redis client."""
        return redis.Redis.from_url(
            self.settings.storage.redis_url,
            max_connections=REDIS_CONNECTIONS,
            socket_connect_timeout=3,
            socket_timeout=10,
            health_check_interval=30,
        )

    @cached_property
    def celery(self) -> Celery:
        """The Celery application for sending."""
        return create_celery(lambda: self.settings)

    @cached_property
    def store(self) -> PgRunStore:
        """The journal's readers."""
        return PgRunStore(self.engine)

    @cached_property
    def stream(self) -> EventStream:
        """The fast copy of events."""
        engine = self.settings.engine
        return EventStream(self.redis, length=engine.event_stream_length, ttl_s=engine.event_stream_ttl_s)

    @cached_property
    def depths(self) -> RedisQueueDepths:
        """Messages in the queues."""
        return RedisQueueDepths(self.redis)

    @cached_property
    def runs(self) -> RunService:
        """Runs."""
        publisher = EffectPublisher(CelerySender(self.celery), self.stream)
        listener = RunListener(self.redis, self.store, max_waiting=self.settings.web.threads // 2)
        return RunService(self.store, publisher, listener, self.depths, self.settings.engine.max_queue_depth)

    def make_worker(self, role: str) -> StepWorker:
        """Make this process's step worker; the caller starts and closes it."""
        engine = self.settings.engine
        policy = CallbackPolicy(
            engine.callback_allowed_hosts, engine.callback_secret, engine.callback_window_h * SECONDS_AN_HOUR
        )
        sender = CelerySender(self.celery)

        def make_publisher(wake: Callable[[str, str], None]) -> EffectPublisher:
            return EffectPublisher(sender, self.stream, wake)

        return StepWorker(
            WorkerParts(
                dsn=libpq_address(self.settings.storage.database_url),
                process_id=str(uuid.uuid4()),
                role=role,
                engine=engine,
                client=self.redis,
                catalog=self.handlers,
                models=None,
                reader=self.store,
                depths=self.depths,
                make_publisher=make_publisher,
                callbacks=CallbackDelivery(self.engine, self.store, policy, self.answers.shape),
            )
        )


def build(settings: Settings) -> Application:
    """Compose the system.

    Args:
        settings: with DATABASE_URL and REDIS_URL, or with neither: then the embedded servers under DATA_DIR are meant,
            which must be running.

    Raises:
        NotConfiguredError: neither addresses nor running embedded servers.
    """
    application = Application(with_addresses(settings))
    for name in settings.engine.extensions:
        importlib.import_module(name).register(application.handlers)
    return application


def with_addresses(settings: Settings) -> Settings:
    """Fill in the running embedded servers' addresses where the environment names none."""
    storage = settings.storage
    if storage.database_url and storage.redis_url:
        return settings
    from app.servers.launch import find_addresses  # noqa: PLC0415 - hosts with servers of their own need no embedded ones

    found: dict[str, Any] = find_addresses(settings)
    return replace(settings, storage=replace(storage, **found))


def libpq_address(database_url: str) -> str:
    """Write SQLAlchemy's address as libpq reads it."""
    return database_url.replace("postgresql+psycopg2://", "postgresql://", 1)
