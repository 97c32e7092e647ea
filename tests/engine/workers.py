"""Real worker processes, started as the Procfile starts them, to be killed at will."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from app.schema import ROOT
from app.servers.identity import launch_command

QUEUES = "inline.high,inline.medium,inline.low,linear.high,linear.medium,linear.low,control"
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 40


class Worker:
    """One `celery worker` process; it ends with the thread that started it."""

    def __init__(self, environment: dict[str, str], log_path: Path, name: str, *options: str) -> None:
        self.log_path = log_path
        command = [
            sys.executable, "-m", "celery", "-A", "tasks.celery_app", "worker", *options,
            "-Q", QUEUES, "--without-gossip", "--without-mingle", "-n", f"{name}@trial",
        ]  # fmt: skip
        with log_path.open("ab") as log:
            self.process = subprocess.Popen(
                launch_command(("--die-with", f"{os.getpid()}:{int(signal.SIGKILL)}"), command),
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """All it has logged."""
        return self.log_path.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        """Wait until it reads the queues."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while " ready." not in self.log:
            if not self.alive or time.monotonic() > deadline:
                raise AssertionError(f"the worker did not start:\n{self.log[-3000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """Ask it to end in good order; returns at once."""
        self.process.terminate()

    def wait(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Wait for its end; gives the exit code."""
        return self.process.wait(timeout_s)


class Workers:
    """The workers of a trial.

    Args:
        environment: variables that point them at the trial's servers.
        folder: where logs go.
    """

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment = {
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": "1",
            "CELERY_CUSTOM_WORKER_POOL": "tasks.pool:AsyncioPool",
            "EXTENSIONS": "tests.engine.tools",
            **environment,
        }
        self._folder = folder
        self.all: list[Worker] = []

    def add(self, **variables: str) -> None:
        """Set variables for the workers that are started from now on."""
        self._environment.update(variables)

    def start(
        self, count: int = 1, *, concurrency: int = 100, pool: str = "custom", ready: bool = True
    ) -> list[Worker]:
        """Start workers; with `ready`, wait until they read the queues."""
        started = []
        for _ in range(count):
            name = f"w{len(self.all)}"
            options = ("-P", pool, "-c", str(concurrency))
            worker = Worker(self._environment, self._folder / f"{name}.log", name, *options)
            self.all.append(worker)
            started.append(worker)
        if ready:
            for worker in started:
                worker.wait_until_ready()
        return started

    @property
    def living(self) -> list[Worker]:
        """Those that run."""
        return [worker for worker in self.all if worker.alive]

    def kill_all(self) -> None:
        """End what is left."""
        for worker in self.living:
            worker.kill()

    def logs(self) -> str:
        """The end of every log, for a failed assertion."""
        return "\n".join(f"--- {worker.log_path.name}\n{worker.log[-4000:]}" for worker in self.all)
