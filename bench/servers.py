"""Start the endpoint, PostgreSQL and Redis for one benchmark: the servers that `make run` brings along."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import redis

from app.servers import EmbeddedPostgres, EmbeddedRedis
from bench.contender import stop


@dataclass(frozen=True)
class Servers:
    """What the contenders work with."""

    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    postgres_pid: int
    redis_pid: int
    endpoint_port: int
    endpoint_pid: int

    def fresh_database(self, name: str) -> str:
        """Make an empty database and return its address; the checkpoint leaves no earlier work to write out."""
        self._as_superuser(f'drop database if exists "{name}" with (force)', f'create database "{name}"', "checkpoint")
        return self.postgres.url_of(name).replace("postgresql+psycopg2://", "postgresql://")

    def drop_database(self, name: str) -> None:
        """Remove a database whoever is still connected."""
        self._as_superuser(f'drop database if exists "{name}" with (force)')

    def empty_redis(self) -> str:
        """Forget everything in Redis and return its address."""
        with redis.Redis.from_url(self.redis.url) as client:
            client.flushall()
        return self.redis.url

    def versions(self) -> dict[str, str]:
        """Say which servers these are."""
        with redis.Redis.from_url(self.redis.url) as client:
            info: Any = client.info("server")
        return {"PostgreSQL": self._as_superuser("show server_version"), "Redis": info["redis_version"]}

    def _as_superuser(self, *statements: str) -> str:
        """Run statements outside any transaction; returns the last one's value, if it has one."""
        connection = psycopg2.connect(self.postgres.url.replace("+psycopg2", ""))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                row = cursor.fetchone() if cursor.description else None
                return str(row[0]) if row else ""
        finally:
            connection.close()


@contextlib.contextmanager
def running_servers(folder: Path) -> Iterator[Servers]:
    """Start all three and stop them at the end; their data goes with them.

    Args:
        folder: where data and logs are written, on a disk worth measuring.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="servers-", dir=folder))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, data, ignore_errors=True)
        postgres = EmbeddedPostgres(data, die_with_parent=True)
        stack.callback(postgres.stop)
        postgres.start()
        broker = EmbeddedRedis(data, die_with_parent=True)
        stack.callback(broker.stop)
        broker.start()
        endpoint, port = start_endpoint()
        stack.callback(stop, [endpoint])
        yield Servers(
            postgres=postgres,
            redis=broker,
            postgres_pid=_pid_of(postgres),
            redis_pid=_pid_of(broker),
            endpoint_port=port,
            endpoint_pid=endpoint.pid,
        )


def start_endpoint() -> tuple[subprocess.Popen[str], int]:
    """Start an endpoint; it ends when its standard input is closed. Returns the process and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.endpoint"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None  # noqa: S101 - asked for above
    return process, int(process.stdout.readline())


def _pid_of(server: EmbeddedPostgres | EmbeddedRedis) -> int:
    if server.pid is None:
        raise RuntimeError(f"{server.name} ended as soon as it was up; see {server.log_path}")
    return server.pid
