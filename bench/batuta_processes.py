"""Start Batuta's processes with the very commands of `batuta up`, on the benchmark's servers."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path

from app.bootstrap import Application
from app.formation import plan_children
from app.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
WEB, WORKERS = "web", "worker-io"
READY_WITHIN_S = 60


def environment_for(database_url: str, redis_url: str, **settings: object) -> dict[str, str]:
    """Write a process's environment; settings that are not named stay as they ship."""
    return {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "EXTENSIONS": "bench.extension",
        "LOG_LEVEL": "WARNING",
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),  # in the project's own environment a .pth file does this
        **{name: str(value) for name, value in settings.items()},
    }


def start_programs(environment: dict[str, str], programs: Collection[str], log: str) -> list[subprocess.Popen[str]]:
    """Start these programs of the formation, each as often as the settings say; their output goes to `log`."""
    children = plan_children(Settings.from_env(environment))
    with Path(log).open("a", encoding="utf-8") as output:
        return [
            subprocess.Popen(
                child.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True, env=environment
            )
            for child in children
            if child.program.name in programs
        ]


def await_workers(application: Application, count: int) -> None:
    """Wait until so many worker processes answer.

    Raises:
        TimeoutError: they did not; their log says why.
    """
    deadline = time.monotonic() + READY_WITHIN_S
    while len(application.celery.control.ping(timeout=1.0) or []) < count:
        if time.monotonic() > deadline:
            raise TimeoutError(f"not {count} workers after {READY_WITHIN_S} s")
