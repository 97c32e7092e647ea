"""What an answer costs, learned from dollars; and that those move first on which a dollar costs least quality."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ml import artifact
from ml.costs import FEWEST, Costs, saved_unseen
from ml.errors import RowsError
from ml.gain_parts import Texts
from ml.route import RouteScorer
from ml.route_pair import LEAST_SAVING, rates, savings
from tests.ml.test_route import CANDIDATES, MODELS, traffic

SHORT, LONG = "add {} to it", "summarise this: " + "the river runs slowly through the old town and " * 20 + "{}"


def answers(count: int, seed: int = 1) -> tuple[list[str], np.ndarray]:
    """Make prompts answered by either model at random; a long prompt is ten times as dear, for either."""
    rng = np.random.default_rng(seed)
    long = rng.random(count) < 0.5
    prompts = [(LONG if one else SHORT).format(number) for number, one in enumerate(long)]
    dollars = np.where(long, 0.01, 0.001)[:, None] * [1.0, 20.0] * rng.lognormal(0, 0.3, (count, 2))
    dollars[np.arange(count), rng.integers(0, 2, count)] = np.nan
    return prompts, dollars


def test_dollars_follow_what_a_prompt_looks_like() -> None:
    prompts, dollars = answers(600)
    costs = Costs.fit(Texts.of(prompts).shape, dollars, MODELS)
    shape = Texts.of([SHORT.format(7), LONG.format(7)]).shape
    for model, short in zip(MODELS, (0.001, 0.02), strict=True):
        expected = costs.expect(shape, model)
        assert expected is not None
        assert expected == pytest.approx([short, 10 * short], rel=0.25)


def test_expected_dollars_add_up_to_those_that_were_paid() -> None:
    prompts, dollars = answers(400)
    shape = Texts.of(prompts).shape
    costs = Costs.fit(shape, dollars, MODELS)
    for place, model in enumerate(MODELS):
        paid, expected = dollars[:, place], costs.expect(shape, model)
        assert expected is not None
        known = ~np.isnan(paid)
        assert expected[known].sum() == pytest.approx(paid[known].sum())


def test_with_few_answers_of_a_model_nothing_is_said_of_what_it_saves() -> None:
    prompts, dollars = answers(200)
    known = np.flatnonzero(~np.isnan(dollars[:, 0]))
    dollars[known[FEWEST - 1 :], 0] = np.nan
    shape = Texts.of(prompts).shape
    costs = Costs.fit(shape, dollars, MODELS)
    assert costs.models == MODELS[1:]
    assert costs.saved(shape, *MODELS) is None
    assert saved_unseen(shape, dollars) is None


def test_an_answer_for_nothing_is_worth_learning_from() -> None:
    prompts, dollars = answers(200)
    dollars[:, 0] *= 0.0
    saved = saved_unseen(Texts.of(prompts).shape, dollars)
    assert saved is not None
    assert np.all(np.isfinite(saved) & (saved > 0))


def test_what_is_expected_of_a_prompt_was_learned_without_it() -> None:
    prompts, dollars = answers(200)
    shape = Texts.of(prompts).shape
    row = int(np.flatnonzero(~np.isnan(dollars[:, 1]))[0])
    changed = dollars.copy()
    changed[row, 1] *= 1000.0
    before, after = saved_unseen(shape, dollars), saved_unseen(shape, changed)
    assert before is not None
    assert after is not None
    assert after[row] == before[row]
    assert np.any(after != before)


def test_costs_say_the_same_after_saving() -> None:
    prompts, dollars = answers(200)
    shape = Texts.of(prompts).shape
    costs = Costs.fit(shape, dollars, MODELS)
    read = Costs.from_json(costs.to_json())
    assert read.models == costs.models
    assert read.saved(shape, *MODELS) == pytest.approx(costs.saved(shape, *MODELS), rel=1e-4)


def test_more_saved_or_less_lost_always_moves_earlier() -> None:
    loss, saving = np.meshgrid(np.linspace(-0.5, 0.5, 11), [0.1, 0.5, 1.0, 3.0], indexing="ij")
    found = rates(loss, saving)
    assert np.all(np.diff(found, axis=0) > 0)
    assert np.all(np.diff(found[np.abs(loss[:, 0]) > 0.01], axis=1) < 0)
    assert found[loss < 0].max() < found[loss > 0].min()


def test_what_saves_nothing_counts_as_little_and_unknown_dollars_as_the_usual() -> None:
    assert savings(np.array([-1.0, 0.0, 4.0]), 2.0, 3).tolist() == [LEAST_SAVING, LEAST_SAVING, 2.0]
    assert savings(None, 2.0, 2).tolist() == [1.0, 1.0]
    assert savings(np.array([-1.0]), 0.0, 1).tolist() == [1.0]


def priced(count: int, seed: int = 1) -> tuple[list[str], list[Mapping[str, float]], list[Mapping[str, float]]]:
    """Make judged prompts of one kind, on which little is lost; every second is long, and its answer dear."""
    rng = np.random.default_rng(seed)
    prompts: list[str] = []
    outcomes: list[Mapping[str, float]] = []
    dollars: list[Mapping[str, float]] = []
    for number in range(count):
        long, served = bool(number % 2), int(rng.integers(2))
        prompts.append((LONG if long else SHORT).format(f"x{int(rng.integers(40))}"))
        outcomes.append({MODELS[served]: float(rng.random() < (0.8, 0.9)[served])})
        dollars.append({MODELS[served]: (0.01 if long else 0.001) * (1.0, 20.0)[served]})
    return prompts, outcomes, dollars


@pytest.fixture(scope="module")
def learned() -> RouteScorer:
    prompts, outcomes, dollars = priced(900)
    return RouteScorer.fit(prompts, outcomes, models=MODELS, dollars=dollars)


def test_where_as_much_is_lost_the_dear_request_moves_first(learned: RouteScorer) -> None:
    short, long = learned.expected_losses([SHORT.format("x3"), LONG.format("x3")], *MODELS)
    assert long.saving > 4 * short.saving
    assert long.mean == pytest.approx(short.mean, abs=0.1)
    assert long.rate < short.rate


def test_a_dear_request_may_lose_more_than_a_cheap_one(learned: RouteScorer) -> None:
    pair = learned.pairs[MODELS]
    rate = float(pair.cuts[-1, 0])
    assert rate > 0
    assert pair.allowed(1.0, 2.0) == pytest.approx(2 * rate)
    assert pair.allowed(-1.0, 2.0) == -np.inf


def test_what_moves_below_every_cut_loses_no_more_than_its_bound_says(learned: RouteScorer) -> None:
    """On fresh traffic of the same kind, whose true loss is .1 wherever it moves."""
    prompts, _, _ = priced(200, seed=9)
    losses = learned.expected_losses(prompts, *MODELS)
    for rate, upper in learned.pairs[MODELS].cuts:
        moved = np.mean([loss.rate <= rate for loss in losses])
        assert 0.1 * moved <= upper + 0.02


def test_without_dollars_every_request_saves_alike() -> None:
    prompts, outcomes, _ = priced(400)
    scorer = RouteScorer.fit(prompts, outcomes, models=MODELS)
    assert scorer.costs is None
    assert all(loss.saving == 1.0 and loss.rate == loss.mean for loss in scorer.expected_losses(prompts[:9], *MODELS))


def test_dollars_of_answers_that_nobody_judged_teach_too() -> None:
    prompts, outcomes = traffic(300)
    served, dollars = answers(300)
    paid = [
        {model: usd for model, usd in zip(MODELS, row, strict=True) if not np.isnan(usd)} for row in dollars.tolist()
    ]
    scorer = RouteScorer.fit(
        [*prompts, *served], [*outcomes, *({} for _ in served)], models=MODELS, dollars=[*({} for _ in prompts), *paid]
    )
    assert scorer.pairs[MODELS].judged == (
        sum("cheap" in row for row in outcomes),
        sum("strong" in row for row in outcomes),
    )
    assert scorer.pairs[MODELS].usual_usd > 0


def test_a_saved_scorer_keeps_its_costs_and_one_from_before_them_serves_as_it_did(
    learned: RouteScorer, tmp_path: Path
) -> None:
    path = tmp_path / "route.txt"
    learned.save(path)
    prompts = [SHORT.format("x3"), LONG.format("x3")]
    for ours, theirs in zip(
        *(one.expected_losses(prompts, *MODELS) for one in (learned, RouteScorer.load(path))), strict=True
    ):
        assert theirs.saving == pytest.approx(ours.saving, rel=1e-4)
    content = artifact.read(path)
    del content["body"]["costs"]
    for pair in content["body"]["pairs"]:
        del pair["usual_usd"]
    before = RouteScorer.from_content(content)
    assert before.costs is None
    assert [loss.saving for loss in before.expected_losses(prompts, *MODELS)] == [1.0, 1.0]
    assert before.choose(prompts[0], CANDIDATES, 1.0, per="traffic").model == "cheap"


@pytest.mark.parametrize("dollars", [[], [{"cheap": -0.1}], [{"cheap": float("inf")}]])
def test_dollars_that_do_not_fit_are_refused(dollars: list[Mapping[str, float]]) -> None:
    with pytest.raises(RowsError, match="dollars"):
        RouteScorer.fit(["a"], [{"cheap": 1.0}], models=MODELS, dollars=dollars)
