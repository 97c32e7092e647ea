"""A plan's keys and the telling of its end, without models."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from app.chat.model import Asked, Turn
from app.chat.planning import QUOTED_BACK_CHARACTERS, REPAIRS, Planning, Reporting, blocks_of
from app.errors import DocumentInvalidError, LogicalError, PersistentError, StepParked, TransientError
from app.gateway.model import ModelCall
from app.runs.ports import StepSummary
from app.workflows.catalog import Catalog
from app.workflows.grammar import parse_workflow

TURN = Turn("r", "s", "me", 1, Asked("Make it."), holdout=False, streams=False)
CATALOG = Catalog(frozenset({"fast_ai"}), frozenset(), frozenset(), frozenset())


@dataclass
class OneTurn:
    """A store with one turn, which remembers results."""

    results: list[str] = field(default_factory=list)

    def read_turn(self, run_id: str, *, most: int) -> Turn:
        del run_id, most
        return TURN

    def keep_result(self, turn: Turn, text: str, telling: int) -> None:
        assert turn is TURN
        self.results.append(text)


@dataclass
class Silent:
    """A context whose models do not answer."""

    steps: list[StepSummary]
    raises: Exception
    attempt: int = 1
    run_id: str = "r"

    def earlier_steps(self) -> list[StepSummary]:
        return self.steps

    async def ask(self, *_: object, **__: object) -> Any:
        raise self.raises


def step(key: str, status: str = "completed", output: Any = "text", **more: Any) -> StepSummary:
    error = {"code": "x", "message": "the vendor said no"} if status == "failed" else None
    return StepSummary(key, "model", "fast_ai", status, output, error, **more)


def report(steps: list[StepSummary], raises: Exception, attempt: int = 1) -> tuple[dict[str, Any], list[str]]:
    store = OneTurn()
    context: Any = Silent([step("chat"), *steps, step("report", "running", None)], raises, attempt)
    told = asyncio.run(Reporting(store, lambda _: ()).report(context, {}))  # type: ignore[arg-type]  # a stand-in
    return told, store.results


REFUSED = PersistentError("no key", code="auth")


def test_a_task_called_like_a_block_takes_no_part_of_a_plan_away() -> None:
    steps = [
        step("w-0"),
        step("w-0.1", "failed", None),
        step("w-each"),
        step("w-each.0", "failed", None, parent="w-each"),
    ]
    told, _ = report(steps, REFUSED)
    assert told["status"] == "partial"
    assert "0.1" in told["response"]
    assert "each.0" not in told["response"]


def test_a_plan_that_is_far_too_long_is_quoted_back_in_part() -> None:
    asked: list[int] = []

    class Endless:
        run_id = "r"

        async def ask(self, call: ModelCall, **_: object) -> Any:
            asked.append(sum(len(message["content"]) for message in call.history))
            return SimpleNamespace(text="x" * 900_000, model="thinking_ai")

    class Unreadable:
        def describe(self) -> str:
            return "a document"

        def read(self, said: str, request: str) -> Any:
            raise DocumentInvalidError(errors={"": ["It is none."]})

    planning = Planning(OneTurn(), Unreadable(), lambda _: (), history_tokens=100)  # type: ignore[arg-type]  # stand-ins
    with pytest.raises(LogicalError):
        asyncio.run(planning.plan(Endless(), {}))  # type: ignore[arg-type]  # a stand-in
    assert len(asked) == REPAIRS + 1
    assert max(asked) < (REPAIRS + 1) * (QUOTED_BACK_CHARACTERS + 1000)


def test_the_keys_of_a_plan_are_none_of_ours() -> None:
    tasks = [
        {"id": "chat", "model": "fast_ai", "prompt": "a"},
        {"id": "report", "model": "fast_ai", "prompt": "b", "depends_on": ["chat"]},
    ]
    [block] = blocks_of(parse_workflow([{"type": "graph", "tasks": tasks}], None, catalog=CATALOG))
    assert [task.key for task in block.tasks] == ["w-chat", "w-report"]
    assert block.tasks[1].depends_on == ("w-chat",)


def test_a_step_without_an_id_is_called_by_its_variable_where_that_says_which_it_is() -> None:
    def ask(variable: str | None, name: str | None = None) -> dict[str, object]:
        return {"id": name, "model": "fast_ai", "prompt": "a", "output_variable": variable}

    written = [
        {"tasks": [ask("slogans"), ask("draft"), ask("draft"), ask(None), ask("good idea"), ask("taken")]},
        {"tasks": [ask("more", "taken")]},
    ]
    blocks = blocks_of(parse_workflow(written, None, catalog=CATALOG))
    keys = [task.key for block in blocks for task in block.tasks]
    assert keys == ["w-slogans", "w-0.1", "w-0.2", "w-0.3", "w-0.4", "w-0.5", "w-taken"]


def test_without_models_the_end_is_told_in_plain_words_and_kept_once() -> None:
    told, results = report([step("plan"), step("w-text", output="THE TEXT")], REFUSED)
    assert told["status"] == "completed"
    assert results == [told["response"]]
    assert told["response"].startswith("Made: text.")
    assert "THE TEXT" in told["response"]


def test_a_failed_plan_is_a_failure() -> None:
    told, _ = report([step("plan", "failed", None)], REFUSED)
    assert told["status"] == "failed"
    assert "the plan: the vendor said no" in told["response"]


def test_what_was_left_out_is_named_and_what_a_condition_skipped_is_not() -> None:
    steps = [
        step("plan"),
        step("w-a"),
        step("w-b", "failed", None),
        step("w-c", "skipped", None, reason="needs b"),
        step("w-d", "skipped", None, reason="when"),
    ]
    told, _ = report(steps, REFUSED)
    assert told["status"] == "partial"
    for name in ("- b: the vendor said no", "- c: left out"):
        assert name in told["response"]
    assert "- d" not in told["response"]


def test_items_of_a_loop_count_through_it() -> None:
    items = [step("w-0.0.0", parent="w-0.0"), step("w-0.0.1", parent="w-0.0")]
    told, _ = report([step("plan"), step("w-0.0", output=["x", None]), *items], REFUSED)
    assert told["response"].count("## ") == 1


def test_a_model_that_may_come_back_is_waited_for_before_plain_words_serve() -> None:
    steps = [step("plan"), step("w-a")]
    with pytest.raises(TransientError):
        report(steps, TransientError("503"), attempt=1)
    told, _ = report(steps, TransientError("503"), attempt=3)
    assert told["status"] == "completed"


@pytest.mark.parametrize("reason", ["budget", "rate", "fenced"])
def test_money_and_rates_are_waited_for(reason: str) -> None:
    with pytest.raises(StepParked):
        report([step("plan"), step("w-a")], StepParked(reason))


def test_what_was_made_is_cut_where_it_is_too_long_for_a_session() -> None:
    told, _ = report([step("plan"), *(step(f"w-{number}", output="x" * 50_000) for number in range(8))], REFUSED)
    assert len(told["response"]) < 110_000
    assert "the run's result" in told["response"]
