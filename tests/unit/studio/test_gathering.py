"""Items of many threads, written one transaction after another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest
from sqlalchemy.exc import DataError, OperationalError, SQLAlchemyError

from app.studio.gathering import Gathering

PATIENCE_S = 10.0
MOST = 100


class Writer:
    """Writes when it is let, and remembers what came together."""

    def __init__(self) -> None:
        self.written: list[list[str]] = []
        self.threads: list[str] = []
        self.entered = threading.Event()
        self.let = threading.Event()
        self.let.set()

    def write(self, items: Sequence[str]) -> list[str]:
        self.threads.append(threading.current_thread().name)
        self.entered.set()
        assert self.let.wait(PATIENCE_S)
        if "away" in items:
            raise OperationalError("insert", {}, OSError("the server has gone"))
        if "refused" in items:
            raise DataError("insert", {}, ValueError("a character that no column holds"))
        if "fault" in items:
            raise ZeroDivisionError
        self.written.append(list(items))
        return [f"{item} is written" for item in items]


def bring_all(
    writer: Writer, gathering: Gathering[str, str], items: Sequence[str], first: str = "first"
) -> dict[str, str | BaseException]:
    """Bring one item, and while it is being written all the others, in their order."""
    outcomes: dict[str, str | BaseException] = {}

    def bring(item: str) -> None:
        try:
            outcomes[item] = gathering.bring(item)
        except (SQLAlchemyError, ZeroDivisionError) as error:
            outcomes[item] = error

    def start(item: str) -> threading.Thread:
        thread = threading.Thread(target=bring, args=(item,), name=item)
        thread.start()
        return thread

    writer.let.clear()
    threads = [start(first)]
    assert writer.entered.wait(PATIENCE_S)
    for count, item in enumerate(items, start=1):
        threads.append(start(item))
        await_that(lambda count=count: len(gathering._waiting) == count)  # type: ignore[misc]
    writer.let.set()
    for thread in threads:
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    return outcomes


def await_that(holds: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE_S / 0.001)):
        if holds():
            return
        pause.wait(0.001)
    raise AssertionError("waited in vain")


@pytest.fixture
def writer() -> Writer:
    return Writer()


@pytest.fixture
def gathering(writer: Writer) -> Gathering[str, str]:
    return Gathering(writer.write, MOST)


def test_whoever_comes_alone_writes_at_once_in_the_own_thread(writer: Writer, gathering: Gathering[str, str]) -> None:
    assert [gathering.bring(item) for item in ("a", "b")] == ["a is written", "b is written"]
    assert writer.written == [["a"], ["b"]]
    assert set(writer.threads) == {threading.current_thread().name}


def test_what_comes_while_one_writes_is_written_together_and_each_has_its_own_answer(
    writer: Writer, gathering: Gathering[str, str]
) -> None:
    outcomes = bring_all(writer, gathering, ["a", "b", "c"])
    assert writer.written == [["first"], ["a", "b", "c"]]
    assert outcomes == {item: f"{item} is written" for item in ("first", "a", "b", "c")}


def test_the_first_of_those_who_waited_writes_for_the_others(writer: Writer, gathering: Gathering[str, str]) -> None:
    bring_all(writer, gathering, ["a", "b"])
    assert writer.threads == ["first", "a"]


def test_a_flood_is_written_in_parts(writer: Writer) -> None:
    outcomes = bring_all(writer, Gathering(writer.write, 2), ["a", "b", "c", "d", "e"])
    assert writer.written == [["first"], ["a", "b"], ["c", "d"], ["e"]]
    assert len(outcomes) == 6


def test_what_the_database_refuses_costs_only_itself(writer: Writer, gathering: Gathering[str, str]) -> None:
    outcomes = bring_all(writer, gathering, ["a", "refused", "c"])
    assert isinstance(outcomes.pop("refused"), DataError)
    assert outcomes == {item: f"{item} is written" for item in ("first", "a", "c")}
    assert writer.written == [["first"], ["a"], ["c"]]


@pytest.mark.parametrize("fault", ["away", "fault"])
def test_a_fault_of_the_transaction_is_told_to_all_of_it_and_the_next_are_written(
    writer: Writer, gathering: Gathering[str, str], fault: str
) -> None:
    outcomes = bring_all(writer, gathering, ["a", fault])
    assert isinstance(outcomes["a"], OperationalError if fault == "away" else ZeroDivisionError)
    assert outcomes["a"] is outcomes[fault]
    assert gathering.bring("later") == "later is written"
    assert writer.written == [["first"], ["later"]]
