"""Start a whole system of one's own with `batuta up`, on free ports and a folder that goes with it."""

from __future__ import annotations

import contextlib
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
UP_WITHIN_S = 120
STOPS_WITHIN_S = 60
LEFT_OUT = ("DATABASE_URL", "REDIS_URL", "API_TOKENS", "AIRTABLE_API_KEY")  # it has servers and callers of its own
# Words of a command line that tell what a process is; the first that fits.
PARTS = (
    ("gunicorn", "web"),
    ("learning@", "worker-learning"),
    ("worker", "worker-io"),
    ("beat", "beat"),
    ("flower", "flower"),
    ("postgres", "postgres"),
    ("redis", "redis"),
    ("up", "supervisor"),
)


@dataclass(frozen=True)
class OwnSystem:
    """A system that runs for as long as its block lasts."""

    url: str
    process: subprocess.Popen[bytes]

    def cpu_s(self) -> dict[str, float]:
        """Give the processor time each kind of process has used so far, in seconds."""
        used: dict[str, float] = {}
        for process in [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                times, line = process.cpu_times(), " ".join(process.cmdline())
                part = next((part for word, part in PARTS if word in line), "other")
                used[part] = used.get(part, 0.0) + times.user + times.system
        return used


@contextlib.contextmanager
def own_system(folder: Path, **variables: str) -> Iterator[OwnSystem]:
    """Start a system as `make run` does, without its first batch; it is stopped and its data removed at the end.

    Args:
        folder: where its data and its log are written, on a disk worth measuring.
        variables: settings that differ from what ships.

    Raises:
        TimeoutError: it did not start; its log stays where the message says.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="system-", dir=folder))
    log = folder / "system.log"
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if name not in LEFT_OUT} | {
        "DATA_DIR": str(data),
        "PORT": str(port),
        "FLOWER_PORT": str(_free_port()),
        "BATCH_CRON": "off",
        "LOG_LEVEL": "WARNING",
        **variables,
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "up"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _await_health(port, process, log)
        yield OwnSystem(url, process)
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOPS_WITHIN_S)
        shutil.rmtree(data, ignore_errors=True)


def _await_health(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + UP_WITHIN_S
    while not _is_healthy(port):
        if process.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError(f"the system did not start; {log} says why")
        time.sleep(0.2)


def _is_healthy(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return b'"healthy"' in connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
