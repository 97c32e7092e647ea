"""Tools for trials of the engine, brought to real workers by `EXTENSIONS=tests.engine.tools`.

What a tool does to the world is a row in the table `effects` of the test's database, so that doubled work shows.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2

from app.errors import FatalError, LogicalError, PersistentError, ResourceError, StepError, StepParked, TransientError
from app.gateway.model import ModelCall
from app.runs.ports import Handler, HandlerCatalog, ModelContext, StepContext

TABLE = """
create table if not exists effects (
    run_id uuid not null, step_key text not null, what text not null, attempt int not null, pid int not null,
    at timestamptz not null default clock_timestamp(), id uuid primary key)
"""
PATIENCE_S = 30.0
ERRORS: dict[str, type[StepError]] = {
    "transient": TransientError,
    "resource": ResourceError,
    "logical": LogicalError,
    "persistent": PersistentError,
    "fatal": FatalError,
}
STAGES = 2  # places of the slot "stage"


def register(catalog: HandlerCatalog) -> None:
    """Add the tools."""
    for handler in (
        Handler("mark", mark),
        Handler("work", work),
        Handler("nap", nap),
        Handler("flaky", flaky),
        Handler("boom", boom),
        Handler("poison", poison),
        Handler("poison_once", poison_once),
        Handler("gate", gate),
        Handler("odd", odd),
        Handler("leave", leave),
        Handler("parks", parks),
        Handler("on_stage", on_stage, slots=(("stage", STAGES),)),
    ):
        catalog.tool(handler)
    catalog.agent(Handler("witness", witness))
    catalog.agent(Handler("asks", asks))


async def asks(context: ModelContext, given: dict[str, Any]) -> Any:
    """Ask a model; a second try finds the first one's answer in the ledger."""
    answer = await context.ask(ModelCall(given.get("model", "fast_ai"), given["prompt"]), part=given.get("part", 0))
    return answer.output


def note(context: StepContext, what: str) -> None:
    """Write down that something happened in the world."""
    row = (context.run_id, context.step_key, what, context.attempt, os.getpid(), str(uuid.uuid4()))
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            _write(row)
        except (
            psycopg2.OperationalError,
            psycopg2.InterfaceError,
        ):  # the trial restarts the database; the world out there would not
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def _write(row: tuple[Any, ...]) -> None:
    connection = psycopg2.connect(os.environ["DATABASE_URL"].replace("+psycopg2", ""))
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "insert into effects (run_id, step_key, what, attempt, pid, id) values (%s, %s, %s, %s, %s, %s) "
                "on conflict do nothing",
                row,
            )
    finally:
        connection.close()


def mark(context: StepContext, given: dict[str, Any]) -> Any:
    """Leave one row, and give back `value`."""
    note(context, "mark")
    return given.get("value", context.step_key)


def work(context: StepContext, given: dict[str, Any]) -> Any:
    """Block a thread for `seconds` between a row at the start and one at the end."""
    note(context, "begin")
    ends_at = time.monotonic() + given.get("seconds", 0.2)
    while time.monotonic() < ends_at:
        if not given.get("deaf"):
            context.check_cancelled()
        time.sleep(0.02)
    note(context, "end")
    return given.get("value", context.step_key)


async def nap(context: StepContext, given: dict[str, Any]) -> Any:
    """Wait on the loop, and give back `value`."""
    await asyncio.sleep(given.get("seconds", 0.2))
    return given.get("value", context.step_key)


def flaky(context: StepContext, given: dict[str, Any]) -> Any:
    """Fail until the attempt `works_at`."""
    note(context, "try")
    if context.attempt < given["works_at"]:
        raise ERRORS[given.get("error", "transient")]("not yet", code="not_yet")
    return given.get("value", context.attempt)


def boom(context: StepContext, given: dict[str, Any]) -> Any:
    """Raise: an engine's error by its class, or any of Python's by its name."""
    note(context, "boom")
    name = given.get("error", "fatal")
    if name in ERRORS:
        raise ERRORS[name]("boom", code="boom")
    raise {"SystemExit": SystemExit, "StopIteration": StopIteration, "CancelledError": asyncio.CancelledError}.get(
        name, RuntimeError
    )("boom")


def poison(context: StepContext, given: dict[str, Any]) -> Any:
    """End the process that runs it, as a fault in a C library would."""
    note(context, "poison")
    os.kill(os.getpid(), signal.SIGKILL)


def poison_once(context: StepContext, given: dict[str, Any]) -> Any:
    """End the process after the effect and before the finish, the first time."""
    note(context, "effect")
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return "survived"


async def gate(context: StepContext, given: dict[str, Any]) -> Any:
    """Wait until a file is there."""
    while not Path(given["path"]).exists():  # noqa: ASYNC110, ASYNC240 - another process makes the file; a look is quick
        await asyncio.sleep(0.02)
    return given.get("value", context.step_key)


ODD: dict[str, Any] = {
    "nul": {"a\x00b": "c\x00"},
    "surrogate": "half a pair: \ud83d",
    "long integer": 2**80 + 1,
    "not a number": [float("nan"), float("inf"), 1.5],
    "tuple": (1, 2),
    "number keys": {1: "one"},
    "set": {1, 2},
    "decimal": Decimal("1.5"),
    "object": object(),
}


def odd(context: StepContext, given: dict[str, Any]) -> Any:
    """Give back something that is hard to store."""
    which = given["which"]
    if which == "deep":
        value: Any = "the bottom"
        for _ in range(given["levels"]):
            value = [value]
        return value
    if which == "large":
        return "x" * given["bytes"]
    return ODD[which]


async def leave(context: StepContext, given: dict[str, Any]) -> Any:
    """Try to end the whole process, as a script would."""
    sys.exit(3)


def parks(context: StepContext, given: dict[str, Any]) -> Any:
    """Give the place back until the attempt `works_at`."""
    if context.attempt < given["works_at"]:
        raise StepParked("rate", delay_s=given.get("delay_s", 0.1))
    return context.attempt


async def on_stage(context: StepContext, given: dict[str, Any]) -> Any:
    """Hold one of the stage's places for `seconds`, between two rows."""
    await asyncio.to_thread(note, context, "enter")
    await asyncio.sleep(given.get("seconds", 0.2))
    await asyncio.to_thread(note, context, "exit")
    return context.step_key


def witness(context: StepContext, given: dict[str, Any]) -> Any:
    """Tell what the steps before did."""
    return [
        {"key": step.key, "status": step.status, "output": step.output, "code": (step.error or {}).get("code")}
        for step in context.earlier_steps()
    ]
