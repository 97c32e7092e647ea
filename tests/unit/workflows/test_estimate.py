from __future__ import annotations

import math
import random
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.workflows.estimate import Estimate, estimate_workflow, unset_names
from app.workflows.model import Block, Task
from app.workflows.spreads import NOTHING, Z90, Spread, slowest_of, total_of
from tests.unit.workflows.documents import echo, parse


def _estimate(document: Any, **variables: Any) -> Estimate:
    """Estimate with one dollar and ten seconds a run, exactly."""
    return estimate_workflow(
        parse(document, variables), price=lambda task, block: Spread(1, 1), history=lambda task, block: Spread(10, 10)
    )


def _seconds(block: dict[str, Any], **variables: Any) -> float:
    return _estimate([block], **variables).seconds.p50


def test_inline_tasks_follow_each_other() -> None:
    assert _seconds({"tasks": [echo(), echo(), echo()]}) == pytest.approx(30)


def test_linear_tasks_take_as_long_as_one_and_in_few_lanes_as_many_waves_as_needed() -> None:
    tasks = [echo()] * 5
    assert _seconds({"type": "linear", "tasks": tasks}) == pytest.approx(10)
    assert _seconds({"type": "linear", "tasks": tasks, "max_concurrency": 2}) == pytest.approx(30)


def test_a_graph_takes_its_longest_way_and_in_one_lane_all_of_it() -> None:
    tasks = [echo("a"), echo("b"), echo("c", depends_on=["a"])]
    assert _seconds({"type": "graph", "tasks": tasks}) == pytest.approx(20)
    assert _seconds({"type": "graph", "tasks": tasks, "max_concurrency": 1}) == pytest.approx(30)


def test_blocks_follow_each_other() -> None:
    estimate = _estimate([{"type": "linear", "tasks": [echo(), echo()]}, {"tasks": [echo()]}])
    assert estimate.seconds.p50 == pytest.approx(20)
    assert estimate.dollars.p50 == pytest.approx(3)


@pytest.mark.parametrize(
    ("for_each", "count"),
    [([1, "{a}", 3], 3), ([], 0), ("{three}", 3), ("{plan.two}", 2), ("{number}", 1), ("{unknown}", 1), ("{made}", 1)],
)
def test_a_loop_counts_its_items_when_the_list_is_known(for_each: Any, count: int) -> None:
    maker = {"tasks": [echo(output_variable="made")]}
    loop = {"type": "linear", "max_concurrency": 2, "tasks": [echo(for_each=for_each)]}
    estimate = _estimate([maker, loop], three=[1, 2, 3], plan={"two": [1, 2]}, number=7, made=[1] * 9)
    row = estimate.steps[1]
    assert row.estimated_dollars == pytest.approx(count)
    assert row.estimated_seconds == pytest.approx(10 * math.ceil(count / 2))


def test_inline_items_follow_each_other() -> None:
    assert _seconds({"tasks": [echo(for_each=[1, 2, 3])]}) == pytest.approx(30)


def test_a_task_that_its_condition_rules_out_beforehand_costs_nothing() -> None:
    document = [{"tasks": [echo(when={"var": "notify", "op": "==", "value": True})]}]
    assert _estimate(document, notify=False).dollars == NOTHING
    assert _estimate(document, notify=True).dollars == Spread(1, 1)


def test_a_condition_on_what_a_step_will_set_counts_as_met() -> None:
    tasks = [echo(output_variable="grade"), echo(when={"var": "grade", "op": ">", "value": 7})]
    assert _estimate([{"tasks": tasks}], grade=1).dollars.p50 == pytest.approx(2)


def test_a_condition_on_items_counts_every_item() -> None:
    task = echo(for_each="{list}", when={"var": "item", "op": ">", "value": 7})
    assert _estimate([{"tasks": [task]}], list=[1, 9]).dollars.p50 == pytest.approx(2)


def test_the_engines_window_is_a_ceiling_for_blocks_without_one() -> None:
    workflow = parse([{"type": "linear", "tasks": [echo(for_each=list(range(10)))]}])

    def ten(task: Task, block: Block) -> Spread:
        return Spread(10, 10)

    estimate = estimate_workflow(workflow, price=ten, history=ten, window=4)
    assert estimate.seconds.p50 == pytest.approx(30)
    assert estimate.steps[0].estimated_seconds == pytest.approx(30)


def test_rows_and_totals_read_as_a_dry_run_answers() -> None:
    document = [
        {"type": "linear", "latency": "batch", "tasks": [{"model": "fast_ai", "prompt": "p", "for_each": [1, 2]}]},
        {"tasks": [{"id": "ok", "approval": "Go?"}]},
    ]

    def price(task: Task, block: Block) -> Spread:
        assert block.latency == ("batch" if task.kind == "model" else "live")
        return Spread(0.0000011, 0.0000011) if task.kind == "model" else NOTHING

    estimate = estimate_workflow(parse(document), price=price, history=lambda task, block: Spread(0.12345, 0.12345))
    assert estimate.to_json() == {
        "steps": [
            {"key": "0.0", "kind": "model", "model": "fast_ai", "estimated_dollars": 2e-6, "estimated_seconds": 0.123},
            {"key": "ok", "kind": "approval", "model": None, "estimated_dollars": 0, "estimated_seconds": 0.123},
        ],
        "estimated": {"dollars_p50": 2e-6, "dollars_p90": 2e-6, "seconds_p50": 0.247, "seconds_p90": 0.247},
    }


def test_the_names_that_nothing_sets_are_listed() -> None:
    document = [{"tasks": [echo(input="{topic} {tone} {made}"), echo(output_variable="made", for_each="{list}")]}]
    assert unset_names(parse(document, {"topic": 1})) == ("list", "tone")


def test_one_amount_is_its_own_sum_and_its_own_slowest() -> None:
    amount = Spread(2, 5)
    assert total_of([(amount, 1), (NOTHING, 7), (Spread(9, 9), 0)]) == amount
    slowest = slowest_of([(amount, 1)])
    assert slowest.p50 == pytest.approx(2)
    assert slowest.p90 == pytest.approx(5)
    assert total_of([]) == slowest_of([]) == NOTHING


_SPREADS = st.builds(lambda p50, ratio: Spread(p50, p50 * ratio), st.floats(0, 1e6), st.floats(1, 1e6))


@settings(max_examples=200, deadline=None)
@example([(Spread(5e-324, 5e-324), 2)])
@given(st.lists(st.tuples(_SPREADS, st.integers(0, 1000)), max_size=6))
def test_sums_and_maxima_are_finite_and_in_order(amounts: list[tuple[Spread, int]]) -> None:
    for spread in (total_of(amounts), slowest_of(amounts)):
        assert 0 <= spread.p50 <= spread.p90 * (1 + 1e-9)
        assert math.isfinite(spread.p90)


@pytest.mark.parametrize(("count", "ratio"), [(2, 3.0), (10, 2.0), (100, 1.5), (30, 4.0)])
def test_sums_and_maxima_agree_with_many_throws(count: int, ratio: float) -> None:
    dice, sigma, throws = random.Random(7), math.log(ratio) / Z90, 4000
    drawn = [[dice.lognormvariate(0, sigma) for _ in range(count)] for _ in range(throws)]
    # 4,000 throws place a ninth decile within a percent of rank; Fenton's fit is off by a few percent itself.
    for spread, outcomes in (
        (total_of([(Spread(1, ratio), count)]), sorted(map(sum, drawn))),
        (slowest_of([(Spread(1, ratio), count)]), sorted(map(max, drawn))),
    ):
        assert spread.p50 == pytest.approx(outcomes[throws // 2], rel=0.06)
        assert spread.p90 == pytest.approx(outcomes[throws * 9 // 10], rel=0.06)


def test_a_hundred_calls_at_once_end_with_their_slowest() -> None:
    document = [{"type": "linear", "tasks": [echo(for_each=list(range(100)))]}]
    estimate = estimate_workflow(
        parse(document), price=lambda task, block: NOTHING, history=lambda task, block: Spread(1, 2)
    )
    assert 3 < estimate.seconds.p50 < 5
    assert estimate.seconds.p90 > estimate.seconds.p50


def test_a_full_document_is_estimated_within_a_web_requests_time() -> None:
    document = [{"type": "linear", "tasks": [echo(for_each=list(range(3)))] * 2000, "max_concurrency": 50}]
    workflow = parse(document)
    started = time.process_time()
    estimate_workflow(workflow, price=lambda task, block: Spread(1, 2), history=lambda task, block: Spread(1, 2))
    assert time.process_time() - started < 3
