"""Raw Celery: canvas on Redis with the Redis result backend, worker processes of many threads."""

from __future__ import annotations

import json
import time
from typing import Any

import redis

from bench.celery_app import READY_KEY, fan_out_and_in, make_app
from bench.contender import given_work, race, start, stop
from bench.work import Work

LOOK_EVERY_S = 0.1
READY_WITHIN_S = 60
SPARE = 2.0  # threads over the calls that wait at once, because work never spreads evenly over processes


class CelerySystem:
    """The client's side: sends canvases, then looks for the last results, all with one command a look."""

    def __init__(self, work: Work) -> None:
        """Talk to the broker of `work`."""
        self._app = make_app(work.redis_url, work.port)
        self._redis = redis.Redis.from_url(work.redis_url)

    def run(self, work: Work) -> int:
        """Run all workflows at once; returns how many failed."""
        last = [fan_out_and_in(self._app, workflow).apply_async() for workflow in work.ids]
        backend: Any = self._app.backend  # its stub knows only what all backends have
        waiting = {backend.get_key_for_task(result.id) for result in last}
        failed = 0
        while waiting:
            time.sleep(LOOK_EVERY_S)
            keys = list(waiting)
            for key, stored in zip(keys, self._redis.mget(keys), strict=True):
                if stored is not None:
                    waiting.discard(key)
                    failed += json.loads(stored)["status"] != "SUCCESS"
        return failed

    def await_workers(self, count: int) -> None:
        """Wait until so many worker processes said that they listen."""
        deadline = time.monotonic() + READY_WITHIN_S
        while int(self._redis.get(READY_KEY) or 0) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not {count} workers after {READY_WITHIN_S} s")
            time.sleep(0.05)


def main() -> None:
    """Start the workers and race."""
    work = given_work()
    threads = max(8, int(work.slots * SPARE) // work.workers)
    environment = {"BENCH_REDIS_URL": work.redis_url, "BENCH_PORT": str(work.port)}
    workers = [
        start("bench.celery_worker", str(threads), str(number), log=work.log, environment=environment)
        for number in range(work.workers)
    ]
    try:
        system = CelerySystem(work)
        system.await_workers(work.workers)
        race(system.run, work)
    finally:
        stop(workers)


if __name__ == "__main__":
    main()
