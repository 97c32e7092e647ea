from __future__ import annotations

from decimal import Decimal
from typing import Any

from app.runs.model import Priority, RunRequest
from app.runs.submission import WINDOW, submission_rows
from tests.engine.documents import graph, inline, linear, parse, tool


def rows(*blocks: dict[str, Any], **options: Any) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    run, written, steps = submission_rows("r", RunRequest("workflow", parse(list(blocks)), "me", **options))
    return run, written, {step["key"]: step for step in steps}


def test_inline_steps_wait_for_the_one_before_them() -> None:
    _, _, steps = rows(inline(tool("mark", "a"), tool("mark", "b"), tool("mark", "c")))
    assert [(steps[key]["deps_left"], steps[key]["dependents"]) for key in "abc"] == [(0, ["b"]), (1, ["c"]), (1, [])]


def test_linear_steps_wait_for_none() -> None:
    _, _, steps = rows(linear(tool("mark", "a"), tool("mark", "b")))
    assert {step["deps_left"] for step in steps.values()} == {0}


def test_a_dependency_that_is_declared_twice_counts_once() -> None:
    _, _, steps = rows(graph(tool("mark", "a"), tool("mark", "b", depends_on_=["a", "a"])))
    assert steps["b"]["deps_left"] == 1
    assert steps["a"]["dependents"] == ["b"]


def test_ancestors_are_what_a_step_comes_after_and_reads_and_the_approvals_before_it() -> None:
    _, _, steps = rows(
        graph(
            tool("mark", "a", output_variable_="va"),
            {"id": "ask", "approval": "?", "depends_on": ["a"]},
            tool("mark", "c", depends_on_=["ask"]),
            tool("mark", "x", output_variable_="vx"),
            tool("mark", "d", text="{va}{vx}", depends_on_=["c"]),
        )
    )
    assert steps["c"]["ancestors"] == ["ask"]
    assert steps["d"]["ancestors"] == ["a", "ask"]
    assert steps["x"]["ancestors"] == []


def test_queues_follow_shape_and_priority() -> None:
    _, _, steps = rows(inline(tool("mark", "a")), linear(tool("mark", "b")), priority=Priority.HIGH)
    assert (steps["a"]["queue"], steps["b"]["queue"]) == ("inline.high", "linear.high")


def test_places_are_one_for_inline_and_a_window_or_less_for_the_others() -> None:
    _, blocks, _ = rows(
        inline(tool("mark")),
        linear(tool("mark")),
        linear(tool("mark"), max_concurrency=3),
        linear(tool("mark"), max_concurrency=999),
    )
    assert [block["places"] for block in blocks] == [1, WINDOW, 3, WINDOW]


def test_money_is_written_as_text() -> None:
    run, _, _ = rows(inline(tool("mark")), max_cost_usd=Decimal("0.10"))
    assert run["max_cost_usd"] == "0.10"


def test_a_step_names_only_the_variables_it_reads() -> None:
    _, _, steps = rows(
        linear(tool("mark", "a", text="{x.deep} and {y}", for_each_="{list}", when_={"var": "go", "op": "exists"}))
    )
    assert steps["a"]["reads"] == ["go", "list", "x", "y"]
