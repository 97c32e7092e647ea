"""Nothing happens at import: no address is asked, no process or thread started, no variable needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Two libraries look around, and reach nobody: urllib3 binds a socket to learn whether there is IPv6, croniter lets
# `file` say whether Python is one of 32 bits.
PROGRAM = """
import importlib, logging, os, pkgutil, sys, threading

BLOCKED = {
    "socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname",
    "os.fork", "os.exec", "os.posix_spawn", "os.system", "os.mkdir", "os.remove",
}

def watch(event, args):
    if event in BLOCKED or (event == "subprocess.Popen" and args[0] != "file"):
        raise AssertionError(f"importing does {event} {args}")

sys.addaudithook(watch)
assert not os.environ.keys() - {"LC_CTYPE"}, dict(os.environ)
count = 1
importlib.import_module("beat_schedule")
for package in ("app", "tasks"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        importlib.import_module(module.name)
        count += 1
assert threading.active_count() == 1, threading.enumerate()
assert not logging.getLogger().handlers
print(count)
"""


def run_watched(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", "-c", program]
    return subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, timeout=120, check=False)


def test_every_module_can_be_imported_with_no_environment_and_no_network() -> None:
    done = run_watched(PROGRAM)
    assert done.returncode == 0, done.stderr
    written = {path for package in ("app", "tasks") for path in (ROOT / package).rglob("*.py")}
    assert int(done.stdout) == len(written) - 2 + 1  # without the two roots, with beat_schedule


def test_a_module_that_reaches_out_would_be_seen() -> None:
    reaching = "import socket; socket.create_connection(('127.0.0.1', 9))"
    done = run_watched(PROGRAM.replace('importlib.import_module("beat_schedule")', reaching))
    assert "importing does socket." in done.stderr
