"""`batuta up` as a person starts it: real processes, in a data folder of the test's own.

The first test takes a quarter of a minute: it starts the whole system twice, because what must survive is a start.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.schema import ROOT
from app.servers import EmbeddedPostgres, EmbeddedRedis

START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 60
COMMAND = [sys.executable, "-m", "app.cli", "up", "--first-batch"]

pytestmark = pytest.mark.timeout(300)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Installation:
    """One data folder, and whatever is started on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        own = {
            "DATA_DIR": str(folder),
            "PORT": str(self.port),
            "FLOWER_PORT": str(free_port()),
            "WORKER_CONCURRENCY": "50",
            "WEB_THREADS": "8",
        }
        theirs = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        self.environment = {**theirs, **own}
        self.starters: list[subprocess.Popen[bytes]] = []

    def up(self) -> Path:
        """Start the system; give the file that its terminal is."""
        output = self.folder / f"terminal-{len(self.starters)}"
        with output.open("wb") as file:
            starter = subprocess.Popen(
                COMMAND, cwd=ROOT, env=self.environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.starters.append(starter)
        deadline = time.monotonic() + START_TIMEOUT_S
        while b"Batuta is up" not in output.read_bytes():
            assert starter.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.1)
        return output

    def get(self, path: str) -> Any:
        """Ask the running system."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=30) as response:
            return json.load(response)

    def processes(self) -> list[psutil.Process]:
        """List all that runs with this data folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.status() != psutil.STATUS_ZOMBIE and process.environ().get("DATA_DIR") == str(self.folder):
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def clear(self) -> None:
        """End everything, however the test ended."""
        for process in self.processes():
            process.kill()
        for starter in self.starters:
            starter.wait(10)
        EmbeddedPostgres(self.folder).kill()
        EmbeddedRedis(self.folder).kill()


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    fresh = Installation(tmp_path)
    yield fresh
    fresh.clear()


def test_up_shows_the_first_batch_refuses_a_second_set_and_survives_its_own_death(installation: Installation) -> None:
    shown = installation.up().read_text()
    assert "5 ideas" in shown
    assert "12 prompts" in shown
    assert f"http://127.0.0.1:{installation.port}" in shown

    second = subprocess.run(
        COMMAND, cwd=ROOT, env=installation.environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert second.returncode == 1
    assert f"process {installation.starters[0].pid}, http://127.0.0.1:{installation.port}" in second.stderr

    before = {process.pid for process in installation.processes()}
    installation.starters[0].kill()
    installation.starters[0].wait(10)
    installation.up()
    after = {process.pid for process in installation.processes()}
    assert not before & after, "something of the first start is still there"
    assert installation.get("/health")["total_batches"] == 1, "the first batch was kept, and not made again"

    installation.starters[1].send_signal(signal.SIGTERM)
    assert installation.starters[1].wait(STOP_TIMEOUT_S) == 0
    assert installation.processes() == []
    assert not EmbeddedPostgres(installation.folder).running
    assert not EmbeddedRedis(installation.folder).running


def test_up_refuses_to_serve_strangers_and_says_what_to_do(installation: Installation) -> None:
    environment = {**installation.environment, "HOST": "0.0.0.0"}
    done = subprocess.run(COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=90)
    assert done.returncode == 2
    assert "API_TOKENS" in done.stderr
    assert installation.processes() == []
    assert not EmbeddedPostgres(installation.folder).running


def test_up_says_which_port_is_taken(installation: Installation) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", installation.port))
        other.listen()
        done = subprocess.run(
            COMMAND, cwd=ROOT, env=installation.environment, capture_output=True, text=True, check=False, timeout=60
        )
    assert done.returncode == 2
    assert f"PORT={installation.port}" in done.stderr
