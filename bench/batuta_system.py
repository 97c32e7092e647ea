"""Batuta: workers as `batuta up` starts them, runs started in batches through the service that its doors use."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa

from app.bootstrap import Application, build
from app.runs.model import RunRequest
from app.schema import upgrade_schema
from app.settings import Settings
from app.workflows.grammar import parse_workflow
from bench.batuta_processes import WORKERS, await_workers, environment_for, start_programs
from bench.contender import given_work, race, stop
from bench.work import FIRST, LAST, MIDDLE, Work

BATCH = 50  # runs a transaction: the first of them start while the next are written
SPARE = 2.0  # room over an even share of the calls that wait at once, because work never spreads evenly
LOOK_EVERY_S = 0.1


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


def main() -> None:
    """Migrate, start the workers and race."""
    work = given_work()
    environment = environment_for(
        work.database_url,
        work.redis_url,
        WORKER_PROCESSES=work.workers,
        WORKER_CONCURRENCY=max(8, int(work.slots * SPARE) // work.workers),
        MAX_CONCURRENT_WORKFLOWS=max(1000, work.workflows),
    )
    settings = Settings.from_env(environment)
    upgrade_schema(settings.storage.database_url)
    workers = start_programs(environment, {WORKERS}, work.log)
    try:
        application = build(settings)
        await_workers(application, work.workers)
        race(BatutaSystem(application, work.port).run, work)
    finally:
        stop(workers)


if __name__ == "__main__":
    main()
