"""The one writer of a process: batches, what cannot be written, a database that is away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
import pytest

from app.runs.journal import JournalWriter
from app.runs.model import Effects
from tests.engine.desk import Desk
from tests.engine.documents import linear, tool


@contextmanager
def writer_of(desk: Desk) -> Iterator[tuple[JournalWriter, list[Effects]]]:
    hand = desk.hand()
    published: list[Effects] = []
    writer = JournalWriter(desk.dsn, process_id=hand.process_id, lease_s=0.001, publish=published.append)
    writer.start()
    yield writer, published
    writer.close()


def write(writer: JournalWriter, *operations: dict[str, Any]) -> list[Any]:
    """Write all at once; gives answers, and errors in their places."""

    async def gather() -> list[Any]:
        return await asyncio.gather(*(writer.write(each) for each in operations), return_exceptions=True)

    return asyncio.run(gather())


def claim(run_id: str, key: str) -> dict[str, Any]:
    return {"op": "claim", "run": run_id, "key": key, "claim": key}


def test_one_operation_that_cannot_be_written_does_not_take_its_neighbours_down(desk: Desk) -> None:
    run_id = desk.submit([linear(*(tool("mark", f"s{n}") for n in range(20)))])
    with writer_of(desk) as (writer, _):
        operations = [claim(run_id, f"s{n}") for n in range(20)]
        operations[7] = claim("this is no id", "s7")
        answers = write(writer, *operations)
    assert isinstance(answers[7], psycopg2.Error)
    assert [answer["fence"] for n, answer in enumerate(answers) if n != 7] == [1] * 19
    desk.check(run_id)


def test_what_is_no_json_is_refused_before_it_is_queued(desk: Desk) -> None:
    with writer_of(desk) as (writer, _):
        [error] = write(writer, {"op": "claim", "run": {1, 2}, "key": "a"})
    assert isinstance(error, TypeError)


def test_a_fault_of_ours_in_the_writing_thread_ends_neither_it_nor_those_who_wait(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = desk.submit([linear(tool("mark", "a"), tool("mark", "b"))])
    with writer_of(desk) as (writer, _):
        with monkeypatch.context() as broken:
            broken.setattr("app.runs.journal.read_all_effects", lambda _: 1 / 0)
            [error] = write(writer, claim(run_id, "a"))
        assert isinstance(error, ZeroDivisionError)
        [answer] = write(writer, claim(run_id, "b"))
    assert answer["fence"] == 1


def test_effects_are_published_after_their_commit(desk: Desk) -> None:
    run_id = desk.submit([linear(tool("mark", "a"))])
    with writer_of(desk) as (writer, published):
        write(writer, claim(run_id, "a"))
    assert [event.type for effects in published for event in effects.events] == ["step_started"]


@pytest.mark.parametrize("how", ["the connection is cut", "the server shuts it"])
def test_an_operation_is_written_though_its_connection_is_lost_under_it(desk: Desk, how: str) -> None:
    run_id = desk.submit([linear(*(tool("mark", f"s{n}") for n in range(2)))])
    with writer_of(desk) as (writer, _):
        write(writer, claim(run_id, "s0"))
        if how == "the connection is cut":
            assert writer._connection is not None
            writer._connection.close()
        else:
            desk.read(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where application_name = 'batuta journal' and datname = current_database() "
                "and pid <> pg_backend_pid() and query like '%batuta_journal%'"
            )
        [answer] = write(writer, claim(run_id, "s1"))
    assert answer["fence"] == 1


def test_a_deadlock_is_tried_again(desk: Desk) -> None:
    """Two transactions that take two runs in opposite order: the writer's own is ordered, the other is not."""
    first, second = sorted(desk.submit([linear(tool("mark", "a"))]) for _ in range(2))
    other = desk.hand()
    lock = "select 1 from runs where run_id = %s for update"
    with writer_of(desk) as (writer, _):

        async def collide() -> list[Any]:
            other.execute("begin")
            other.execute("set local deadlock_timeout = '10s'")
            other.execute(lock, (second,))
            writing = asyncio.gather(writer.write(claim(first, "a")), writer.write(claim(second, "a")))
            await asyncio.sleep(0.3)
            locking = asyncio.to_thread(other.execute, lock, (first,))
            await locking
            other.execute("rollback")
            return list(await writing)

        answers = asyncio.run(collide())
    assert [answer["fence"] for answer in answers] == [1, 1]
