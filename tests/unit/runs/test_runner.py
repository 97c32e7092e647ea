"""The runner over a journal that only remembers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from app.errors import StepParked, TransientError
from app.runs.journal import JournalWriter
from app.runs.lease import Owned
from app.runs.ledger import DayCaps
from app.runs.ports import Handler, HandlerCatalog, StepContext
from app.runs.retry import STANDARD, Backoff, Policy
from app.runs.runner import RunnerParts, StepRunner
from app.runs.threads import HandlerThreads
from app.workflows.model import Task


class RememberingJournal:
    """Gives every claim, and remembers what is written after it."""

    def __init__(self, **claim: Any) -> None:
        self.written: list[dict[str, Any]] = []
        self._claim = claim
        self._fence = 0

    async def write(self, operation: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        if operation["op"] == "claim":
            self._fence += 1
            return {**CLAIM, "fence": self._fence, **self._claim}
        self.written.append(operation)
        return {"fenced": False}

    def write_soon(self, operation: dict[str, Any]) -> None:
        self.written.append(operation)

    @property
    def last(self) -> dict[str, Any]:
        return self.written[-1]


CLAIM: dict[str, Any] = {
    "attempts": 1, "tries": {}, "doomed": False, "rendered": None, "scope": {}, "missing": [], "item": None,
    "item_value": None, "run_owner": "me", "run_kind": "workflow",
}  # fmt: skip


def play(
    call: Callable[..., Any], *, drive: Any = None, threads: int = 4, policy: Policy = STANDARD, **task: Any
) -> RememberingJournal:
    """Run one step whose tool is `call`; `drive` may act on the runner meanwhile."""
    claim = task.pop("claim", {})
    written = Task("a", "workflow[0].tasks[0]", task.pop("kind", "tool"), "t", **task).to_json()
    journal = RememberingJournal(task=written, **claim)
    catalog = HandlerCatalog()
    catalog.tool(Handler("t", call))

    async def work() -> None:
        runner = _runner(journal, catalog, threads, policy)
        step = asyncio.ensure_future(runner.run("r", "a"))
        if drive is not None:
            await drive(runner)
        await step
        assert runner.in_hand == 0
        runner._parts.threads.close()

    asyncio.run(work())
    return journal


def _runner(
    journal: RememberingJournal, catalog: HandlerCatalog, threads: int, policy: Policy = STANDARD
) -> StepRunner:
    reader: Any = None
    writer = cast("JournalWriter", journal)
    return StepRunner(
        RunnerParts(writer, catalog, None, HandlerThreads(threads), reader, 5.0, DayCaps(), policy=policy)
    )


def give(value: Any) -> Callable[..., Any]:
    return lambda _context, _given: value


def fail(error: BaseException) -> Callable[..., Any]:
    def call(_context: StepContext, _given: Any) -> Any:
        raise error

    return call


def test_a_tools_output_finishes_its_step() -> None:
    assert play(give([1])).last == {
        "op": "finish", "run": "r", "key": "a", "fence": 1, "status": "completed", "output": [1]
    }  # fmt: skip


def test_an_error_that_may_pass_parks_the_step_with_its_class_counted() -> None:
    parked = play(fail(TransientError("busy", retry_after_s=7, code="busy"))).last
    assert (parked["op"], parked["reason"], parked["error_class"]) == ("park", "back-off", "transient")
    assert parked["delay_s"] >= 7
    assert parked["error"] == {"code": "busy", "message": "busy", "class": "transient"}


def test_the_last_try_of_a_class_fails_the_step() -> None:
    assert play(fail(TransientError("busy")), claim={"tries": {"transient": 4}}).last["status"] == "failed"
    assert play(fail(TransientError("busy")), claim={"tries": {"resource": 4}}).last["op"] == "park"


def test_the_installation_s_own_policy_says_how_often_and_when() -> None:
    policy = Policy({"transient": 2}, Backoff(base_s=40, most_s=40, jitter=False))
    assert play(fail(TransientError("busy")), policy=policy).last["delay_s"] == 40
    assert play(fail(TransientError("busy")), policy=policy, claim={"tries": {"transient": 1}}).last["op"] == "finish"


def test_parking_counts_nothing() -> None:
    parked = play(fail(StepParked("rate", delay_s=3))).last
    assert (parked["reason"], parked["delay_s"]) == ("rate", 3)
    assert "error_class" not in parked


@pytest.mark.parametrize(
    "error",
    [SystemExit(1), KeyboardInterrupt(), StopIteration(), GeneratorExit(), asyncio.CancelledError(), ValueError()],
)
def test_nothing_a_blocking_tool_raises_reaches_the_loop(error: BaseException) -> None:
    assert play(fail(error)).last["error"]["code"] == "internal"


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), asyncio.CancelledError(), ValueError()])
def test_nothing_an_awaited_tool_raises_reaches_the_loop(error: BaseException) -> None:
    async def call(_context: StepContext, _given: Any) -> Any:
        raise error

    finished = play(call).last
    assert (finished["op"], finished["status"], finished["error"]["code"]) == ("finish", "failed", "internal")


def test_a_tool_that_this_worker_does_not_have_fails_the_step() -> None:
    assert play(give(1), kind="agent").last["error"]["code"] == "unknown_handler"


def test_a_model_step_without_a_gateway_fails_and_says_what_is_missing() -> None:
    assert play(give(1), kind="model", prompt="?").last["error"]["code"] == "not_configured"


async def _nap(_context: StepContext, _given: Any) -> str:
    await asyncio.sleep(30)
    return "woken"


def test_a_cancelled_runs_step_is_stopped_and_said_to_be_cancelled() -> None:
    async def drive(runner: StepRunner) -> None:
        await asyncio.sleep(0.05)
        runner.cancel_runs(["another"])
        runner.cancel_runs(["r"])
        runner.cancel_runs(["r"])

    finished = play(_nap, drive=drive).last
    assert (finished["status"], finished["reason"]) == ("cancelled", "run cancelled")


def test_a_leaving_worker_hands_back_what_it_does_and_what_it_claims_from_then_on() -> None:
    async def drive(runner: StepRunner) -> None:
        await asyncio.sleep(0.05)
        runner.hand_back_all()
        await runner.run("r", "a")

    journal = play(_nap, drive=drive)
    assert [(each["op"], each["reason"]) for each in journal.written] == [("park", "handed back")] * 2


def test_a_step_of_a_cancelled_run_is_not_handed_back() -> None:
    async def drive(runner: StepRunner) -> None:
        await asyncio.sleep(0.05)
        runner.cancel_runs(["r"])
        runner.hand_back_all()

    assert play(_nap, drive=drive).last["status"] == "cancelled"


def test_a_time_limit_counts_as_a_lack_of_a_resource() -> None:
    parked = play(_nap, timeout_s=0.05).last
    assert (parked["op"], parked["error"]["code"], parked["error_class"]) == ("park", "timeout", "resource")


def test_a_blocking_tool_that_was_given_up_keeps_its_thread_and_the_next_waits_for_it_outside_its_time() -> None:
    def work(context: StepContext, _given: Any) -> str:
        time.sleep(0.4)
        return "done"

    async def drive(runner: StepRunner) -> None:
        # One of the two is given up; the other's time begins when the thread is free again.
        await runner.run("r", "a")

    journal = play(work, drive=drive, threads=1, timeout_s=0.3)
    assert [each["op"] for each in journal.written] == ["park", "park"]
    assert [each["error"]["code"] for each in journal.written] == ["timeout", "timeout"]


def test_what_was_rendered_before_is_given_again_and_not_rendered_anew() -> None:
    seen = []

    def look(_context: StepContext, given: Any) -> None:
        seen.append(given)

    journal = play(look, input={"v": "{x}"}, claim={"scope": {"x": "new"}, "rendered": {"v": "old"}})
    assert seen == [{"v": "old"}]
    assert [each["op"] for each in journal.written] == ["finish"]


def test_what_is_rendered_the_first_time_is_frozen_before_the_tool_is_called() -> None:
    journal = play(give(1), input={"v": "{x}"}, claim={"scope": {"x": [1]}})
    assert [each["op"] for each in journal.written] == ["freeze", "finish"]
    assert journal.written[0]["rendered"] == {"v": [1]}


def test_a_doomed_step_is_skipped_without_a_call() -> None:
    assert play(fail(AssertionError("called")), claim={"doomed": True}).last["status"] == "skipped"


def test_what_the_journal_says_runs_here_and_nobody_knows_of_is_given_back_the_third_time() -> None:
    journal = RememberingJournal()

    async def work() -> None:
        runner = _runner(journal, HandlerCatalog(), 1)
        ghost = Owned("r", "ghost", 4, cancelled=False)
        for _ in range(2):
            runner.look_after([ghost])
        runner.look_after([])  # heard of after all: counting begins anew
        for _ in range(5):
            runner.look_after([ghost])
        runner._parts.threads.close()

    asyncio.run(work())
    assert journal.written == [
        {"op": "park", "run": "r", "key": "ghost", "fence": 4, "reason": "handed back", "delay_s": 0}
    ]


def test_a_step_that_runs_here_is_never_given_back_and_is_stopped_when_its_run_is_cancelled() -> None:
    async def drive(runner: StepRunner) -> None:
        await asyncio.sleep(0.05)
        for _ in range(10):
            runner.look_after([Owned("r", "a", 1, cancelled=False)])
        assert runner.in_hand == 1
        runner.look_after([Owned("r", "a", 1, cancelled=True)])

    journal = play(_nap, drive=drive)
    assert [(each["op"], each.get("status")) for each in journal.written] == [("finish", "cancelled")]
