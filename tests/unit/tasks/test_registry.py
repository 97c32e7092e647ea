"""Every task, beat entry and handler can be reached, and says why running it twice is harmless."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from app.bootstrap import build
from app.broker import QUEUES, RUN_STEP, create_celery
from app.runs.ports import Handler
from app.settings import Settings
from beat_schedule import beat_schedule
from tasks.registry import CLOSE_CYCLE, KEEP_HOUSE, START_DUE_BATCH, register_tasks

ROOT = Path(__file__).resolve().parents[3]
# Addresses of nothing: neither a task's declaration nor a handler's connects.
SETTINGS = Settings.from_env({"DATABASE_URL": "postgresql://nobody@localhost/none", "REDIS_URL": "redis://localhost"})
SAYS_WHY = re.compile(r"^\s*Repeat-safe: \w.+", re.MULTILINE)


def registered() -> Celery:
    app = create_celery(lambda: SETTINGS)
    register_tasks(app, lambda: SETTINGS)
    return app


APP = registered()
TASKS: dict[str, Any] = {name: task for name, task in APP.tasks.items() if not name.startswith("celery.")}
ENTRIES = beat_schedule(SETTINGS.schedule)
CATALOG = build(SETTINGS).handlers
HANDLERS = [*CATALOG.agents.values(), *CATALOG.tools.values()]


def drained() -> set[str]:
    """The queues that some line of the Procfile reads."""
    found: set[str] = set()
    for line in (ROOT / "Procfile").read_text(encoding="utf-8").splitlines():
        words = shlex.split(line)
        if "-Q" in words:
            found |= set(words[words.index("-Q") + 1].split(","))
    return found


def queue_of(task: str, options: dict[str, Any] | None = None) -> str:
    """The queue that a message goes to; Celery refuses one it does not know."""
    queue = APP.amqp.router.route(dict(options or {}), task)["queue"]
    name: str = queue.name
    return name


def test_the_tasks_are_those_that_are_known() -> None:
    assert set(TASKS) == {RUN_STEP, START_DUE_BATCH, CLOSE_CYCLE, KEEP_HOUSE}


@pytest.mark.parametrize("task", TASKS)
def test_a_task_goes_to_a_queue_that_somebody_reads(task: str) -> None:
    assert queue_of(task) in drained()


def test_every_declared_queue_is_read_and_no_other() -> None:
    assert drained() == set(QUEUES) == set(APP.amqp.queues)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_says_why_running_it_twice_is_harmless(task: str) -> None:
    assert SAYS_WHY.search(inspect.getdoc(TASKS[task].run) or "")


@pytest.mark.parametrize("entry", ENTRIES)
def test_beat_starts_a_task_that_exists_through_a_queue_that_somebody_reads(entry: str) -> None:
    assert ENTRIES[entry]["task"] in TASKS
    assert queue_of(ENTRIES[entry]["task"], ENTRIES[entry]["options"]) in drained()


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.name)
def test_an_agent_or_tool_says_why_running_it_twice_is_harmless(handler: Handler) -> None:
    assert SAYS_WHY.search(inspect.getdoc(handler.call) or "")
