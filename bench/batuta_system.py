"""Batuta: workers as `batuta up` starts them, runs started in batches through the service that its doors use."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.bootstrap import Application, build
from app.formation import plan_children
from app.runs.model import RunRequest
from app.schema import upgrade_schema
from app.settings import Settings
from app.workflows.grammar import parse_workflow
from bench.contender import given_work, race, stop
from bench.work import FIRST, LAST, MIDDLE, Work

ROOT = Path(__file__).resolve().parent.parent
WORKERS = "worker-io"
BATCH = 50  # runs a transaction: the first of them start while the next are written
SPARE = 2.0  # room over an even share of the calls that wait at once, because work never spreads evenly
LOOK_EVERY_S = 0.1
READY_WITHIN_S = 60


def environment_for(work: Work) -> dict[str, str]:
    """Write the settings under which this work is done; all others stay as they ship."""
    return {
        "DATABASE_URL": work.database_url,
        "REDIS_URL": work.redis_url,
        "EXTENSIONS": "bench.extension",
        "WORKER_PROCESSES": str(work.workers),
        "WORKER_CONCURRENCY": str(max(8, int(work.slots * SPARE) // work.workers)),
        "MAX_CONCURRENT_WORKFLOWS": str(max(1000, work.workflows)),
        "LOG_LEVEL": "WARNING",
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(ROOT),  # in the project's own environment a .pth file does this
    }


def fan_out_and_in(workflow: str, port: int) -> dict[str, Any]:
    """Write one workflow's document: one call, four side by side, one that is given the four answers."""

    def call(step: str, **more: Any) -> dict[str, Any]:
        given = {"port": port, "workflow": workflow, "step": step, **more}
        return {"id": step, "tool": "bench_call", "input": given, "output_variable": step}

    return {
        "workflow": [
            {"type": "inline", "tasks": [call(FIRST)]},
            {"type": "linear", "tasks": [call(step) for step in MIDDLE]},
            {"type": "inline", "tasks": [call(LAST, answers=[f"{{{step}}}" for step in MIDDLE])]},
        ]
    }


class BatutaSystem:
    """The client's side: starts runs, then asks the journal whether any is still under way."""

    def __init__(self, application: Application, port: int) -> None:
        """Start runs through `application`; their steps call `port`."""
        self._application = application
        self._catalog = application.catalog
        self._port = port

    def run(self, work: Work) -> int:
        """Run all workflows at once; returns how many did not end as completed."""
        for workflows in _batches(work.ids):
            self._start(workflows)
        while True:
            under_way, failed = self._look()
            if not under_way:
                return failed
            time.sleep(LOOK_EVERY_S)

    def await_workers(self, count: int) -> None:
        """Wait until so many worker processes answer."""
        deadline = time.monotonic() + READY_WITHIN_S
        while len(self._application.celery.control.ping(timeout=1.0) or []) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not {count} workers after {READY_WITHIN_S} s")

    def _start(self, workflows: list[str]) -> None:
        runs = self._application.runs
        with self._application.engine.begin() as connection:
            started = [runs.start_run(self._request(workflow), connection) for workflow in workflows]
        for each in started:
            runs.publish(each)

    def _request(self, workflow: str) -> RunRequest:
        document = fan_out_and_in(workflow, self._port)
        return RunRequest(
            kind="workflow", workflow=parse_workflow(document, None, catalog=self._catalog), owner="bench"
        )

    def _look(self) -> tuple[int, int]:
        """Count the runs that have not ended, and those that ended otherwise than completed."""
        question = sa.text(
            "select count(*) filter (where finished_at is null),"
            " count(*) filter (where finished_at is not null and status <> 'completed') from runs"
        )
        with self._application.engine.connect() as connection:
            under_way, failed = connection.execute(question).one()
        return under_way, failed


def _batches(workflows: list[str]) -> Iterator[list[str]]:
    for first in range(0, len(workflows), BATCH):
        yield workflows[first : first + BATCH]


def start_workers(settings: Settings, environment: dict[str, str], log: str) -> list[subprocess.Popen[str]]:
    """Start the worker processes with the very commands of `batuta up`."""
    commands = [child.command for child in plan_children(settings) if child.name.startswith(WORKERS)]
    with Path(log).open("a", encoding="utf-8") as output:
        return [
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, text=True, env=environment)
            for command in commands
        ]


def main() -> None:
    """Migrate, start the workers and race."""
    work = given_work()
    environment = {**os.environ, **environment_for(work)}
    settings = Settings.from_env(environment)
    upgrade_schema(settings.storage.database_url)
    workers = start_workers(settings, environment, work.log)
    try:
        system = BatutaSystem(build(settings), work.port)
        system.await_workers(work.workers)
        race(system.run, work)
    finally:
        stop(workers)


if __name__ == "__main__":
    main()
