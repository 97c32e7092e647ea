from __future__ import annotations

import itertools
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.workflows.estimate import estimate_workflow
from app.workflows.graph import find_circle, in_order, sources
from app.workflows.model import Block, Task
from app.workflows.schedule import Job, critical_path_s, makespan_s
from app.workflows.spreads import NOTHING, Spread
from tests.unit.workflows.documents import echo, parse, refused


def _graph(*tasks: dict[str, Any]) -> list[Any]:
    return [{"type": "graph", "tasks": list(tasks)}]


@st.composite
def dags(draw: st.DrawFn, most: int = 7) -> dict[str, tuple[str, ...]]:
    """Draw keys with what each depends on, in an order that has nothing to do with the dependencies."""
    count = draw(st.integers(1, most))
    names = [f"t{number}" for number in range(count)]
    edges = {
        name: tuple(draw(st.lists(st.sampled_from(names[:place]), unique=True, max_size=3))) if place else ()
        for place, name in enumerate(names)
    }
    return {name: edges[name] for name in draw(st.permutations(names))}


def _ways_to(key: str, depends_on: dict[str, tuple[str, ...]]) -> list[list[str]]:
    """List every way from a start to `key`, the slow and certain way."""
    ways = [[*way, key] for before in depends_on[key] for way in _ways_to(before, depends_on)]
    return ways or [[key]]


def _longest_s(seconds: dict[str, float], depends_on: dict[str, tuple[str, ...]]) -> float:
    return max(sum(seconds[key] for key in way) for end in depends_on for way in _ways_to(end, depends_on))


def _seconds(depends_on: dict[str, tuple[str, ...]], seed: int) -> dict[str, float]:
    dice = random.Random(seed)
    return {key: float(dice.randint(0, 9)) for key in depends_on}


@settings(max_examples=300)
@given(dags(), st.integers(0, 1000))
def test_the_critical_path_is_the_longest_of_all_ways(depends_on: dict[str, tuple[str, ...]], seed: int) -> None:
    seconds = _seconds(depends_on, seed)
    ordered = {key: seconds[key] for key in in_order(depends_on)}
    assert critical_path_s(ordered, depends_on) == _longest_s(seconds, depends_on)


@settings(max_examples=200)
@given(dags(), st.integers(0, 1000))
def test_a_graph_documents_estimate_is_its_longest_way(depends_on: dict[str, tuple[str, ...]], seed: int) -> None:
    seconds = _seconds(depends_on, seed)
    workflow = parse(_graph(*(echo(key, depends_on=list(before)) for key, before in depends_on.items())))

    def history(task: Task, block: Block) -> Spread:
        return Spread(seconds[task.key], seconds[task.key])

    estimate = estimate_workflow(workflow, price=lambda task, block: NOTHING, history=history)
    longest = _longest_s(seconds, depends_on)
    assert estimate.seconds.p50 == pytest.approx(longest)
    assert estimate.seconds.p90 == pytest.approx(longest)


@settings(max_examples=200)
@given(dags(), st.integers(0, 1000), st.integers(1, 4))
def test_few_lanes_keep_order_and_waste_less_than_half(
    depends_on: dict[str, tuple[str, ...]], seed: int, lanes: int
) -> None:
    seconds = _seconds(depends_on, seed)
    jobs = [Job(key, seconds[key], 1, depends_on[key]) for key in in_order(depends_on)]
    longest, work = _longest_s(seconds, depends_on), sum(seconds.values())
    taken = makespan_s(jobs, lanes)
    assert max(longest, work / lanes) <= taken + 1e-9
    assert taken <= work / lanes + (1 - 1 / lanes) * longest + 1e-9  # Graham's bound for any list schedule
    assert makespan_s(jobs, 1) == work
    assert makespan_s(jobs, len(jobs)) == makespan_s(jobs, None) == longest


@given(st.lists(st.integers(0, 9), max_size=8), st.integers(1, 4))
def test_side_by_side_each_piece_takes_the_lane_that_is_free_first(lengths: list[int], lanes: int) -> None:
    ends = [0.0] * lanes
    for length in lengths:
        ends[ends.index(min(ends))] += length
    jobs = [Job(str(number), length) for number, length in enumerate(lengths)]
    assert makespan_s(jobs, lanes) == max(ends)


def test_equal_pieces_run_in_waves() -> None:
    assert makespan_s([Job("a", 3.0, 10)], 4) == 9
    assert makespan_s([Job("a", 3.0, 10)], None) == 3
    assert makespan_s([Job("a", 3.0, 0)], 1) == 0
    assert makespan_s([], 1) == 0


def test_what_waits_for_a_loop_over_nothing_starts_at_once() -> None:
    jobs = [Job("a", 9.0, 0), Job("b", 1.0, 2, ("a",)), Job("c", 1.0, 1, ("b",))]
    assert makespan_s(jobs, 1) == 3


def test_two_million_pieces_are_bounded_and_not_played_through() -> None:
    jobs = [Job(str(number), 1.0, 1000) for number in range(2000)]
    started = time.process_time()
    assert makespan_s(jobs, 10) == 200_000
    assert time.process_time() - started < 1


@given(dags())
def test_in_order_each_stands_after_what_it_depends_on(depends_on: dict[str, tuple[str, ...]]) -> None:
    ordered = in_order(depends_on)
    assert sorted(ordered) == sorted(depends_on)
    assert all(ordered.index(before) < ordered.index(key) for key in ordered for before in depends_on[key])
    assert find_circle(depends_on) == []


def test_an_order_that_is_right_already_is_kept() -> None:
    depends_on = {"b": (), "a": ("b",), "d": (), "c": ("b",)}
    assert in_order(depends_on) == ["b", "a", "d", "c"]


@given(dags(), st.randoms(use_true_random=False))
def test_a_circle_is_found_and_is_one(depends_on: dict[str, tuple[str, ...]], dice: random.Random) -> None:
    pairs = [(key, before) for key, needed in depends_on.items() for before in needed]
    if not pairs:
        return
    key, before = dice.choice(pairs)
    closed = {**depends_on, before: (*depends_on[before], key)}
    circle = find_circle(closed)
    assert circle[0] == circle[-1]
    assert len(circle) == len(set(circle)) + 1
    assert all(later in closed[earlier] for earlier, later in itertools.pairwise(circle))


def test_a_circle_is_refused_with_its_way_even_behind_an_innocent_task() -> None:
    tasks = [
        echo("z", depends_on=["a"]),
        echo("a", depends_on=["b"]),
        echo("b", depends_on=["c"]),
        echo("c", depends_on=["a"]),
    ]
    errors = refused(_graph(*tasks))
    assert errors == {"workflow[0].tasks": ["Tasks wait for each other in a circle: a -> b -> c -> a."]}


def test_a_circle_of_two_thousand_is_told_shortly() -> None:
    tasks = [echo(f"{'t' * 50}{number}", depends_on=[f"{'t' * 50}{(number + 1) % 2000}"]) for number in range(2000)]
    (message,) = refused(_graph(*tasks))["workflow[0].tasks"]
    assert len(message) < 600


def test_tasks_of_a_graph_need_ids_and_known_others() -> None:
    tasks = [echo("a", depends_on=["a"]), echo(depends_on=["nobody"]), echo(id="b.c")]
    assert refused(_graph(*tasks)) == {
        "workflow[0].tasks[0].depends_on": ["A task cannot come after itself."],
        "workflow[0].tasks[1].id": ["A task of a graph block needs an id."],
        "workflow[0].tasks[1].depends_on": ['There is no task "nobody" in this block.'],
        "workflow[0].tasks[2].id": ['Must be 1 to 64 of A-Z, a-z, 0-9, _ and -, as a text, not "b.c".'],
    }


def test_a_task_of_another_block_is_no_dependency() -> None:
    document = [{"tasks": [echo("a")]}, *_graph(echo("b", depends_on=["a"]))]
    assert list(refused(document)) == ["workflow[1].tasks[0].depends_on"]


def test_a_graphs_tasks_stand_in_an_order_they_can_run_in_and_keep_their_places() -> None:
    tasks = [echo("late", depends_on=["early", "early"]), echo("early"), echo("other")]
    block = parse(_graph(*tasks)).blocks[0]
    assert [task.key for task in block.tasks] == ["early", "late", "other"]
    assert [task.place for task in block.tasks] == [f"workflow[0].tasks[{place}]" for place in (1, 0, 2)]
    assert block.tasks[1].depends_on == ("early",)


def test_two_tasks_of_a_graph_set_one_variable_only_after_each_other() -> None:
    first, second = echo("a", output_variable="x"), echo("c", output_variable="x", depends_on=["b"])
    between = echo("b", depends_on=["a"])
    assert len(parse(_graph(first, between, second)).tasks()) == 3
    beside = echo("b", depends_on=[])
    assert list(refused(_graph(first, beside, second))) == ["workflow[0].tasks[2].output_variable"]


@settings(max_examples=200)
@given(dags(), st.lists(st.sampled_from(["x", "y", None]), min_size=7, max_size=7))
def test_setting_twice_is_refused_exactly_where_neither_comes_after_the_other(
    depends_on: dict[str, tuple[str, ...]], names: list[str | None]
) -> None:
    set_by = dict(zip(depends_on, names, strict=False))
    tasks = [echo(key, depends_on=list(before), output_variable=set_by[key]) for key, before in depends_on.items()]
    before = {key: {one for way in _ways_to(key, depends_on) for one in way} for key in depends_on}
    clash = any(
        set_by[one] is not None
        and set_by[one] == set_by[other]
        and one not in before[other]
        and other not in before[one]
        for one, other in itertools.combinations(depends_on, 2)
    )
    if clash:
        assert refused(_graph(*tasks))
    else:
        parse(_graph(*tasks))


def test_a_task_of_a_graph_sees_what_it_reads_and_the_approvals_it_comes_after() -> None:
    block = parse(
        _graph(
            echo("a", output_variable="x"),
            {"id": "ok", "approval": "Go?", "depends_on": ["a"]},
            echo("unread", output_variable="y", depends_on=["ok"]),
            echo("reader", depends_on=["unread"], input="{x.part}"),
            echo("apart", input="{x}"),
        )
    ).blocks[0]
    assert sources(block) == {"a": (), "ok": (), "unread": ("ok",), "reader": ("a", "ok"), "apart": ()}


def test_a_chain_of_two_thousand_is_read_quickly() -> None:
    tasks = [echo("t0", output_variable="x")]
    tasks += [echo(f"t{n}", depends_on=[f"t{n - 1}"], input="{x}", output_variable="x") for n in range(1, 2000)]
    started = time.process_time()
    block = parse(_graph(*reversed(tasks))).blocks[0]
    found = sources(block)
    assert time.process_time() - started < 4
    assert len(found["t1999"]) == 1999
