"""The day and the measures of routing: what is counted, and what the judged outcomes may show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.day import DAY, HISTORY, POLICIES, Dial, at_correct, at_dollars, curve, draw, judge, spend, write
from ml.evaluate.requests import MODELS, Requests, prices
from ml.evaluate.routing import saved
from ml.route import RouteScorer
from tests.ml.test_route import traffic


def requests(count: int = 6_000, seed: int = 1) -> Requests:
    rng = np.random.default_rng(seed)
    weak = (rng.random(count) < 0.6).astype(float)
    strong = np.maximum(weak, (rng.random(count) < 0.5).astype(float))
    prompts = tuple(f"request {number}" for number in range(count))
    dollars = np.tile([1.0, 10.0], (count, 1))
    return Requests(prompts, np.column_stack([weak, strong]), np.array(["a"] * count, dtype=object), dollars)


def test_nothing_of_the_day_was_judged_before_it() -> None:
    day = draw([requests()], seed=3)
    assert (len(day.before), len(day.today)) == (HISTORY, DAY)
    assert not set(day.before.prompts) & set(day.today.prompts)


def test_a_toss_shows_one_outcome_a_request_and_both_shows_two() -> None:
    day = draw([requests()], seed=3)
    one = judge(day, "coin", 300)
    assert len(one.prompts) == 300
    assert all(len(outcome) == 1 for outcome in one.outcomes)
    two = judge(day, "both", 300)
    assert len(two.prompts) == 150
    assert sum(map(len, two.outcomes)) == 300


@pytest.mark.parametrize("policy", POLICIES)
def test_dollars_are_known_of_the_answers_that_were_judged_and_of_no_other(policy: str) -> None:
    known = judge(draw([requests()], seed=3), policy, 300)
    assert [set(dollars) for dollars in known.dollars] == [set(outcome) for outcome in known.outcomes]
    assert {paid for row in known.dollars for paid in row.values()} == {1.0, 10.0}


def test_where_only_what_served_is_judged_there_is_too_little_to_compare() -> None:
    day = draw([requests()], seed=3)
    scorer = judge(day, "served", 300).fit()
    keys = [str(number) for number in range(DAY)]
    assert set(Dial(scorer, "traffic", 0.9).route(keys, day.today.prompts)) == {MODELS[1]}


def test_always_the_strong_model_is_the_measure_and_the_cheap_one_costs_its_price() -> None:
    today = requests(100)
    strong, weak = spend(today, [MODELS[1]] * 100), spend(today, [MODELS[0]] * 100)
    assert (strong.dollars, strong.correct, strong.moved) == (1.0, 1.0, 0.0)
    assert strong.lost == 0.0
    assert weak.dollars == pytest.approx(0.1)
    assert weak.moved == 1.0
    assert weak.lost == pytest.approx(float((today.good[:, 1] - today.good[:, 0]).mean()))
    assert weak.correct == pytest.approx(today.good[:, 0].sum() / today.good[:, 1].sum())


def test_the_held_out_share_asks_the_strong_model_whatever_is_expected() -> None:
    prompts, outcomes = traffic(150, judged="both")
    named = [{MODELS[0]: row["cheap"], MODELS[1]: row["strong"]} for row in outcomes]
    scorer = RouteScorer.fit(prompts, named, models=MODELS)
    keys = [str(number) for number in range(len(prompts))]
    assert set(Dial(scorer, "traffic", 1.0, holdout=1.0).route(keys, prompts)) == {MODELS[1]}
    assert set(Dial(scorer, "traffic", 1.0, holdout=0.0).route(keys, prompts)) == {MODELS[0]}


def test_knowing_everything_moves_all_that_costs_no_correct_answer() -> None:
    today = requests(1_000)
    points = curve(today, today.good[:, 1] - today.good[:, 0])
    assert at_dollars(points, 0.4) == pytest.approx(1.0)
    assert at_correct(points, 1.0) < 0.4


def test_dollars_saved_at_a_share_of_quality_are_those_of_the_cheapest_prefix() -> None:
    good = np.array([[0.0, 1.0]] * 10 + [[1.0, 1.0]] * 90)
    table = np.column_stack([good, np.tile([1.0, 10.0], (100, 1)), good[:, 1] - good[:, 0]])
    dollars, calls = saved(table)
    assert calls == pytest.approx(0.95)
    assert dollars == pytest.approx(1 - (95 + 50) / 1000)


def test_prices_come_from_the_registry_and_the_strong_model_is_dearer() -> None:
    found = prices()
    assert found.shape == (2, 2)
    assert np.all(found[1] > found[0])


def test_a_day_can_be_written_for_a_replay(tmp_path: Path) -> None:
    day = draw([requests()], seed=3)
    write(tmp_path / "day.jsonl", day)
    lines = (tmp_path / "day.jsonl").read_text().splitlines()
    first = json.loads(lines[0])
    assert len(lines) == DAY
    assert first["prompt"] == day.today.prompts[0]
    assert first["models"][MODELS[1]] == {"good": day.today.good[0, 1], "dollars": 10.0}
