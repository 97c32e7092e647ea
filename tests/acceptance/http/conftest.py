from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient

from app.bootstrap import Application, build
from app.http import create_app
from tests.conftest import Servers

CLIENT = "client-secret"
ADMIN = "admin-secret"
REDIS_NUMBER = 0  # the other tests take turns from 1 on
TABLES = (
    "runs",
    "steps",
    "likes",
    "structures",
    "ideas",
    "prompts",
    "batches",
    "tokens",
    "idempotency",
    "outbox",
    "calls",
    "persons",
    "assignment_history",
    "assignment_weights",
    "chat_sessions",
    "chat_turns",
)


@dataclass(frozen=True)
class Door:
    """The HTTP door over real servers; no worker runs, so what is started stays queued or ready."""

    application: Application
    app: Flask

    @property
    def client(self) -> FlaskClient:
        """A caller with a client's token."""
        return self._caller(CLIENT)

    @property
    def admin(self) -> FlaskClient:
        """A caller with an administrator's token."""
        return self._caller(ADMIN)

    @property
    def stranger(self) -> FlaskClient:
        """A caller without a token."""
        return self.app.test_client()

    def _caller(self, secret: str) -> FlaskClient:
        caller = self.app.test_client()
        caller.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {secret}"
        return caller

    def counts(self) -> dict[str, int]:
        """Count the rows of every table a request can write."""
        with self.application.engine.connect() as connection:
            return {
                name: int(connection.execute(sa.text(f"select count(*) from {name}")).scalar_one()) for name in TABLES
            }


@pytest.fixture(scope="module")
def door(servers: Servers, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    """One door for a whole module: its tests leave nothing behind, or look only at what they made."""
    with cloned_database(servers, template) as database_url:
        settings = servers.settings(
            DATABASE_URL=database_url,
            REDIS_URL=servers.redis.url_of(REDIS_NUMBER),
            DATA_DIR=str(tmp_path_factory.mktemp("door")),
            API_TOKENS=f"caller:client:{CLIENT},boss:admin:{ADMIN}",
            CALLBACK_ALLOWED_HOSTS="n8n.internal",
            CALLBACK_SECRET="signs callbacks",
        )
        application = build(settings)
        yield Door(application, create_app(application))
        close_listener(application)
        application.engine.dispose()
        application.redis.close()


def close_listener(application: Application) -> None:
    """Stop the threads that listen for runs before their servers stop."""
    application.runs._listener.close()
    for thread in application.runs._listener._threads:
        thread.join()


@contextmanager
def cloned_database(servers: Servers, template: str) -> Iterator[str]:
    """Give a migrated database of a module's own."""
    name = f"door_{uuid.uuid4().hex}"
    maintenance = sa.create_engine(servers.postgres.url_of("postgres"), isolation_level="AUTOCOMMIT")
    with maintenance.connect() as connection:
        connection.execute(sa.text(f'create database "{name}" template "{template}"'))
        yield servers.postgres.url_of(name)
        connection.execute(sa.text(f'drop database "{name}" with (force)'))
    maintenance.dispose()
