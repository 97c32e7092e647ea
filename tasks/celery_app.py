"""The Celery application that `celery -A tasks.celery_app` finds.

Importing it reads no environment and connects to nothing; Celery asks for its settings when it first needs one.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from celery import signals

from app.broker import create_celery
from app.logs import set_up_logs
from app.settings import Settings
from app.tracing import set_up_tracing
from beat_schedule import beat_schedule
from tasks.registry import register_tasks
from tasks.runtime import runtime_of


def read_settings() -> Settings:
    """Read the process's environment."""
    return Settings.from_env(os.environ)


app = create_celery(read_settings)
app.add_defaults(lambda: {"beat_schedule": beat_schedule(read_settings().schedule)})
register_tasks(app, read_settings)


@signals.worker_process_shutdown.connect(weak=False)
def _close(**_: Any) -> None:
    runtime_of(
        app
    ).close()  # a child of a pool of processes hands back what it runs, instead of letting its lease expire


@signals.worker_init.connect(weak=False)
@signals.worker_process_init.connect(weak=False)
def _trace(**_: Any) -> None:
    set_up_tracing(read_settings().otlp_endpoint, "batuta-worker")


@signals.setup_logging.connect(weak=False)
def _log(**_: Any) -> None:
    settings = read_settings()
    set_up_logs(settings.log_level, settings.log_format)
    logging.getLogger("celery.app.trace").setLevel(logging.WARNING)
    logging.getLogger("celery.worker.strategy").setLevel(logging.WARNING)
