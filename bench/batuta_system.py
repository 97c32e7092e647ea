"""Batuta: its own worker processes on the same PostgreSQL and Redis, runs started through its service."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import Any

import redis
import sqlalchemy as sa

from app.bootstrap import Application, build
from app.broker import STEP_QUEUES
from app.runs.model import RunRequest
from app.schema import upgrade_schema
from app.settings import Settings
from app.workflows.catalog import Catalog
from app.workflows.grammar import parse_workflow
from bench.contender import given_work, race, start, stop
from bench.extension import PORT, TOOL
from bench.work import FIRST, LAST, MIDDLE, Work

LOOK_EVERY_S = 0.1
READY_WITHIN_S = 60
SPARE = 1.25  # places over the calls that wait at once, because work never spreads evenly over processes
FREE = Decimal(0)


class BatutaSystem:
    """The client's side: writes runs, then looks for their ends, all with one query a look."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._catalog = Catalog(
            models=frozenset(), agents=frozenset(), tools=frozenset({TOOL}), addons=frozenset()
        )

    def run(self, work: Work) -> int:
        """Run all workflows at once; returns how many failed."""
        runs = self._application.runs
        started = [
            runs.start_run(
                RunRequest("workflow", parse_workflow(document(workflow), None, catalog=self._catalog), "local")
            ).run_id
            for workflow in work.ids
        ]
        query = sa.text("select status, count(*) from runs where run_id::text = any(:ids) group by status")
        while True:
            time.sleep(LOOK_EVERY_S)
            with self._application.engine.connect() as connection:
                counts: dict[str, int] = {row.status: row.count for row in connection.execute(query, {"ids": started})}
            ended = sum(counts.get(status, 0) for status in ("completed", "partial", "failed", "cancelled"))
            if ended == len(started):
                return ended - counts.get("completed", 0)

    def await_workers(self, count: int) -> None:
        """Wait until so many worker processes hold a lease and read the queues."""
        deadline = time.monotonic() + READY_WITHIN_S
        client: Any = redis.Redis.from_url(self._application.settings.storage.redis_url)
        while len([each for each in client.client_list() if each["cmd"] == "brpop"]) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not {count} workers after {READY_WITHIN_S} s")
            time.sleep(0.05)
        client.close()


def document(workflow: str) -> list[dict[str, Any]]:
    """Write one workflow of the race."""

    def task(step: str) -> dict[str, Any]:
        return {"tool": TOOL, "input": {"workflow": workflow, "step": step}, "output_variable": step}

    return [
        {"type": "inline", "tasks": [task(FIRST)]},
        {"type": "linear", "tasks": [task(step) for step in MIDDLE]},
        {"type": "inline", "tasks": [task(LAST)]},
    ]


def main() -> None:
    """Migrate, start the workers and race."""
    work = given_work()
    places = max(8, int(work.slots * SPARE) // work.workers)
    environment = {
        "DATABASE_URL": work.database_url,
        "REDIS_URL": work.redis_url,
        "EXTENSIONS": "bench.extension",
        "MAX_CONCURRENT_WORKFLOWS": str(max(1000, work.workflows)),
        "WORKER_CONCURRENCY": str(places),
        "LOG_LEVEL": "WARNING",
        "CELERY_CUSTOM_WORKER_POOL": "tasks.pool:AsyncioPool",
        PORT: str(work.port),
    }
    settings = Settings.from_env(environment)
    upgrade_schema(settings.storage.database_url)
    workers = [
        start("celery", *arguments(places, number), log=work.log, environment=environment)
        for number in range(work.workers)
    ]
    try:
        application = build(settings)
        system = BatutaSystem(application)
        system.await_workers(work.workers)
        race(system.run, work)
    finally:
        stop(workers)


def arguments(places: int, number: int) -> list[str]:
    """Write a worker's command line, as `batuta up` does."""
    return [
        "-A",
        "tasks.celery_app",
        "worker",
        "--pool=custom",
        f"--concurrency={places}",
        f"--queues={','.join(STEP_QUEUES)}",
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        f"--hostname=bench{number}@%h",
    ]


if __name__ == "__main__":
    main()
