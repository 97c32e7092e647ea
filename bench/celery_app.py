"""The raw Celery contender's application: one task, no memory but Redis.

Settings are the best found for this work (late acks with a prefetch of one, threads, every limit on connections
raised past the number of threads; redis-py would cap its pools at 100 and lose chords).
"""

from __future__ import annotations

import os
from typing import Any

import redis
from celery import Celery, signals
from celery.canvas import Signature, chain, chord

from bench.client import BlockingClient
from bench.endpoint import allow_files
from bench.work import FIRST, LAST, MIDDLE

READY_KEY = "bench:workers"
CONNECTIONS = 6000
LATE_ACK_S = 3600


def make_app(redis_url: str, port: int) -> Celery:
    """Build the application; its one task calls the endpoint on `port`."""
    app = Celery("bench", broker=redis_url, backend=redis_url, set_as_current=False)
    app.conf.update(
        task_serializer="json",
        result_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_send_task_events=False,
        worker_hijack_root_logger=False,
        broker_pool_limit=50,
        broker_connection_retry_on_startup=True,
        broker_transport_options={
            "visibility_timeout": LATE_ACK_S,
            "max_connections": CONNECTIONS,
            "priority_steps": [0],
        },
        redis_max_connections=CONNECTIONS,
        result_backend_thread_safe=True,
        result_backend_always_retry=True,
        result_expires=LATE_ACK_S,
    )
    client = BlockingClient(port)

    @app.task(name="bench.call")
    def call(_: Any, workflow: str, step: str) -> str:
        return client.call(workflow, step)

    return app


def fan_out_and_in(app: Celery, workflow: str) -> Signature[Any]:
    """Write one workflow as canvas: a chain whose middle is a chord."""

    def call(step: str) -> Signature[Any]:
        return app.signature("bench.call", kwargs={"workflow": workflow, "step": step})

    first = app.signature("bench.call", args=(None,), kwargs={"workflow": workflow, "step": FIRST})
    return chain(first, chord([call(step) for step in MIDDLE], call(LAST), app=app), app=app)


def worker_app() -> Celery:
    """Build the application of a worker process from what the contender put into its environment."""
    allow_files()
    redis_url = os.environ["BENCH_REDIS_URL"]

    @signals.worker_ready.connect(weak=False)
    def count_in(**_: object) -> None:
        with redis.Redis.from_url(redis_url) as client:
            client.incr(READY_KEY)

    return make_app(redis_url, int(os.environ["BENCH_PORT"]))
