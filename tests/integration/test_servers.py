from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
import redis
import sqlalchemy as sa

from app.errors import StorageAwayError
from app.schema import ROOT
from app.servers import EmbeddedPostgres, EmbeddedRedis
from app.servers.embedded import EmbeddedServer
from app.servers.identity import Identity, let_reach, own

NOBODY = 65534
BOTH = pytest.mark.parametrize("kind", [EmbeddedPostgres, EmbeddedRedis], ids=["postgres", "redis"])
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes owners")


def make(kind: type[EmbeddedServer], data_dir: Path) -> EmbeddedServer:
    if kind is EmbeddedPostgres:
        return EmbeddedPostgres(data_dir, durable=False, die_with_parent=True)
    return EmbeddedRedis(data_dir, die_with_parent=True)


def ask(url: str, statement: str) -> Any:
    connection = psycopg2.connect(url.replace("+psycopg2", ""))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchone() if cursor.description else None
    finally:
        connection.close()


def remember(server: EmbeddedServer) -> None:
    if isinstance(server, EmbeddedPostgres):
        ask(server.url, "create table kept as select 1 as one")
    else:
        with redis.Redis.from_url(server.url) as client:
            client.set("kept", "1")


def remembers(server: EmbeddedServer) -> bool:
    if isinstance(server, EmbeddedPostgres):
        return bool(ask(server.url, "select one from kept") == (1,))
    with redis.Redis.from_url(server.url) as client:
        return bool(client.get("kept") == b"1")


@pytest.fixture
def started() -> Iterator[list[EmbeddedServer]]:
    servers: list[EmbeddedServer] = []
    yield servers
    for server in servers:
        server.stop()


def test_a_test_gets_a_database_of_its_own_with_vectors(engine: sa.Engine) -> None:
    with engine.begin() as connection:
        assert connection.execute(sa.text("select '[1,2]'::vector <-> '[1,4]'::vector")).scalar_one() == 2


@BOTH
def test_what_was_kept_is_there_after_a_kill_at_the_same_address(
    kind: type[EmbeddedServer], tmp_path: Path, started: list[EmbeddedServer]
) -> None:
    server = make(kind, tmp_path)
    started.append(server)
    address = server.start()
    remember(server)
    server.kill()
    assert server.pid is None
    assert server.start() == address
    assert remembers(server)


@BOTH
def test_a_second_start_adopts_the_server_that_runs(
    kind: type[EmbeddedServer], tmp_path: Path, started: list[EmbeddedServer]
) -> None:
    first, second = make(kind, tmp_path), kind(tmp_path)
    started.append(first)
    assert first.start() == second.start()
    assert first.pid == second.pid


@BOTH
def test_a_start_that_finds_a_server_on_its_way_out_starts_it_again(
    kind: type[EmbeddedServer], tmp_path: Path, started: list[EmbeddedServer]
) -> None:
    ending, second = make(kind, tmp_path), make(kind, tmp_path)
    started += [ending, second]
    ending.start()
    pid = ending.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)  # it is there, and answers nobody
    with ThreadPoolExecutor(1) as pool:
        starting = pool.submit(second.start)
        time.sleep(0.5)
        # PostgreSQL's lock outlives a kill until its parent has looked; Redis would answer once more before it ended
        os.kill(pid, ending.stop_signal if kind is EmbeddedPostgres else signal.SIGKILL)
        os.kill(pid, signal.SIGCONT)
        starting.result(40)
    assert second.pid not in {None, pid}


@BOTH
def test_a_server_outlives_the_kill_of_its_starter_and_is_adopted(
    kind: type[EmbeddedServer], tmp_path: Path, started: list[EmbeddedServer]
) -> None:
    program = f"""
        import os, signal
        from pathlib import Path
        from app.servers import {kind.__name__}
        {kind.__name__}(Path({str(tmp_path)!r})).start()
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False, cwd=ROOT)
    assert done.returncode == -signal.SIGKILL
    server = kind(tmp_path)
    started.append(server)
    survivor = server.pid
    assert survivor is not None
    server.start()
    assert server.pid == survivor
    server.stop()
    assert not psutil.pid_exists(survivor) or psutil.Process(survivor).status() == psutil.STATUS_ZOMBIE


@BOTH
def test_a_number_left_in_a_file_that_now_is_another_program_stops_no_start(
    kind: type[EmbeddedServer], tmp_path: Path, started: list[EmbeddedServer]
) -> None:
    server = make(kind, tmp_path)
    started.append(server)
    server.start()
    remembered = {
        path: path.read_text()
        for path in (server.home / "data/postmaster.pid", server.home / "redis.pid")
        if path.exists()
    }
    pid = str(server.pid)
    server.stop()
    for path, text in remembered.items():
        path.write_text(text.replace(pid, str(os.getpid()), 1))
    server.start()
    assert server.pid not in {None, os.getpid()}


@BOTH
def test_a_path_too_long_for_a_socket_works(
    kind: type[EmbeddedServer], tmp_path: Path, started: list[EmbeddedServer]
) -> None:
    server = make(kind, tmp_path / ("d" * 100) / ("e" * 100) / "with a space")
    started.append(server)
    server.start()
    remember(server)
    assert remembers(server)


@BOTH
def test_stopping_and_killing_what_does_not_run_does_nothing(kind: type[EmbeddedServer], tmp_path: Path) -> None:
    server = kind(tmp_path)
    server.stop()
    server.kill()
    assert server.pid is None


def test_an_interrupted_first_start_leaves_nothing_half_made(tmp_path: Path, started: list[EmbeddedServer]) -> None:
    server = EmbeddedPostgres(tmp_path, durable=False, die_with_parent=True)
    started.append(server)
    (server.home / "data.new").mkdir(parents=True)
    (server.home / "data.new" / "PG_VERSION").write_text("18")
    server.start()
    assert ask(server.url, "select 1") == (1,)


def test_a_server_that_cannot_start_says_what_its_log_says(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path, durable=False, die_with_parent=True)
    server.start()
    server.stop()
    (server.home / "data" / "postgresql.conf").write_text("no_such_setting = on\n")
    with pytest.raises(StorageAwayError, match="no_such_setting"):
        server.start()


def test_postgres_is_reached_by_its_owner_alone(tmp_path: Path, started: list[EmbeddedServer]) -> None:
    server = EmbeddedPostgres(tmp_path, durable=False, die_with_parent=True)
    started.append(server)
    server.start()
    assert ask(server.url, "show listen_addresses") == ("",)
    folder = Path(str((ask(server.url, "show unix_socket_directories") or ("",))[0]))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert ask(server.url, "show synchronous_commit") == ("on",)
    assert ask(server.url, "show max_connections") == ("200",)


def test_redis_wants_a_password_that_only_its_owner_can_read(tmp_path: Path, started: list[EmbeddedServer]) -> None:
    server = EmbeddedRedis(tmp_path, die_with_parent=True)
    started.append(server)
    url = server.start()
    password = json.loads((server.home / "address.json").read_text())["password"]
    with (
        redis.Redis.from_url(url.replace(f":{password}@", "")) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()
    for name in ("address.json", "redis.conf"):
        assert stat.S_IMODE((server.home / name).stat().st_mode) == 0o600
    assert password not in " ".join(psutil.Process(server.pid).cmdline())
    with redis.Redis.from_url(url) as owner:
        assert owner.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert owner.config_get("append*")["appendfsync"] == "everysec"


def test_redis_forgets_when_told_and_only_then(tmp_path: Path, started: list[EmbeddedServer]) -> None:
    server = EmbeddedRedis(tmp_path, die_with_parent=True)
    started.append(server)
    server.start()
    remember(server)
    with pytest.raises(StorageAwayError):
        server.forget()
    server.kill()
    server.forget()
    server.start()
    assert not remembers(server)


@as_root
def test_another_account_may_pass_folders_but_not_list_them(tmp_path: Path) -> None:
    closed = tmp_path / "home"
    (closed / "clone" / "data").mkdir(parents=True)
    closed.chmod(0o700)
    identity = Identity(("--user", f"{NOBODY}:{NOBODY}"), NOBODY, NOBODY)
    let_reach(identity, closed / "clone" / "data")
    own(identity, closed / "clone" / "data")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o701
    assert (closed / "clone" / "data").stat().st_uid == NOBODY


def test_our_own_identity_changes_no_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    (tmp_path / "data").mkdir()
    identity = Identity((), os.geteuid(), os.getegid())
    let_reach(identity, tmp_path / "data")
    own(identity, tmp_path / "data")
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
