"""Which model may answer: only down, only on evidence, and the same after saving."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from ml import artifact
from ml.errors import ArtifactError, RowsError
from ml.route import MAX_LOSS, Loss, RouteScorer, is_held_out

EASY = ("what is the capital of {}", "translate {} to French", "spell {} backwards")
HARD = ("prove that {} is irrational", "integrate {} over the sphere", "how many primes divide {}")
MODELS = ("cheap", "strong")
CANDIDATES = (("cheap", 0.001), ("strong", 0.02))
SURE_ENOUGH = 0.1  # a loss that 1,200 judged outcomes can rule out


def traffic(
    count: int, seed: int = 1, *, judged: str = "either", hard_loss: float = 0.8
) -> tuple[list[str], list[Mapping[str, float]]]:
    """Make prompts; on hard ones the cheap model fails more often, on easy ones both are always right."""
    rng = np.random.default_rng(seed)
    prompts: list[str] = []
    outcomes: list[Mapping[str, float]] = []
    for _ in range(count):
        hard = bool(rng.random() < 0.5)
        kinds = HARD if hard else EASY
        prompts.append(kinds[int(rng.integers(3))].format(f"x{int(rng.integers(40))}"))
        good = {"cheap": float(not hard or rng.random() > hard_loss), "strong": 1.0}
        served = MODELS[int(rng.integers(2))]
        outcomes.append(good if judged == "both" else {served: good[served]})
    return prompts, outcomes


@pytest.fixture(scope="module")
def learned() -> RouteScorer:
    prompts, outcomes = traffic(1200)
    return RouteScorer.fit(prompts, outcomes, models=MODELS)


def test_it_learns_who_gains_though_only_one_model_was_judged_a_prompt(learned: RouteScorer) -> None:
    easy, upper = learned.expected_loss("translate x3 to French", "cheap", "strong")
    assert abs(easy) < 0.1
    assert upper < learned.expected_loss("prove that x3 is irrational", "cheap", "strong").mean
    assert learned.expected_loss("prove that x3 is irrational", "cheap", "strong").mean > 0.6


def test_an_easy_prompt_moves_down_and_says_what_it_saves(learned: RouteScorer) -> None:
    choice = learned.choose("what is the capital of x9", CANDIDATES, SURE_ENOUGH)
    assert choice.model == "cheap"
    assert choice.saved == pytest.approx(0.019)
    assert "1200 judged outcomes" in choice.reason


def test_a_hard_prompt_stays_with_the_strong_model_and_says_why(learned: RouteScorer) -> None:
    choice = learned.choose("integrate x3 over the sphere", CANDIDATES, SURE_ENOUGH)
    assert (choice.model, choice.saved) == ("strong", 0.0)
    assert "may lose" in choice.reason


def test_traffic_as_a_whole_allows_no_less_than_every_request_by_itself(learned: RouteScorer) -> None:
    prompts, _ = traffic(60, seed=5)
    alone = [learned.choose(prompt, CANDIDATES, SURE_ENOUGH).model for prompt in prompts]
    shared = [learned.choose(prompt, CANDIDATES, SURE_ENOUGH, per="traffic").model for prompt in prompts]
    assert all(b == "cheap" for a, b in zip(alone, shared, strict=True) if a == "cheap")
    assert shared.count("strong") > 0


def test_few_judged_outcomes_are_insufficient_evidence() -> None:
    prompts, outcomes = traffic(200)
    scorer = RouteScorer.fit(prompts, outcomes, models=MODELS)
    loss = scorer.expected_loss(prompts[0], "cheap", "strong")
    assert loss.upper == 1.0
    assert "insufficient evidence" in loss.reason
    choice = scorer.choose(prompts[0], CANDIDATES, 0.9)
    assert choice.model == "strong"
    assert "insufficient evidence" in choice.reason
    assert not scorer.card.verdict.promote


def test_many_outcomes_of_one_model_alone_are_insufficient_evidence() -> None:
    prompts, outcomes = traffic(400)
    only = [{"cheap": outcome.get("cheap", 1.0)} for outcome in outcomes]
    scorer = RouteScorer.fit(prompts, only, models=MODELS)
    assert "0 of strong" in scorer.expected_loss(prompts[0], "cheap", "strong").reason


def test_models_never_compared_are_insufficient_evidence(learned: RouteScorer) -> None:
    choice = learned.choose("x", (("other", 0.001), ("strong", 0.02)), 1.0)
    assert choice.model == "strong"
    assert "never compared" in choice.reason


def test_one_candidate_is_chosen_without_comparing(learned: RouteScorer) -> None:
    assert learned.choose("x", (("strong", 0.02),)).model == "strong"
    with pytest.raises(RowsError, match="no model"):
        learned.choose("x", ())


def test_prompts_about_nothing_known_keep_the_strong_model(learned: RouteScorer) -> None:
    prompt = "Verfasse ein Sonett über den Nebel am Bodensee im November"
    assert learned.expected_loss(prompt, "cheap", "strong").upper > MAX_LOSS
    assert learned.choose(prompt, CANDIDATES, per="traffic").model == "strong"


def test_three_hundred_outcomes_are_enough_to_speak() -> None:
    prompts, outcomes = traffic(150, judged="both")
    scorer = RouteScorer.fit(prompts, outcomes, models=MODELS)
    assert scorer.expected_loss(prompts[0], "cheap", "strong").reason == ""
    assert scorer.card.rows == 300
    assert scorer.card.verdict.promote


def test_where_the_cheap_model_loses_the_same_everywhere_nothing_is_promoted() -> None:
    rng = np.random.default_rng(3)
    prompts, _ = traffic(400)
    outcomes = [{"cheap": float(rng.random() < 0.5), "strong": float(rng.random() < 0.8)} for _ in prompts]
    scorer = RouteScorer.fit(prompts, outcomes, models=MODELS)
    assert not scorer.card.verdict.promote
    assert scorer.choose(prompts[0], CANDIDATES).model == "strong"


def test_a_saved_scorer_says_the_same(learned: RouteScorer, tmp_path: Path) -> None:
    learned.save(tmp_path / "route.txt")
    read = RouteScorer.load(tmp_path / "route.txt")
    prompts, _ = traffic(20, seed=7)
    for ours, theirs in zip(*(s.expected_losses(prompts, *MODELS) for s in (learned, read)), strict=True):
        assert tuple(ours) == pytest.approx(tuple(theirs), abs=1e-4)
    assert read.card == learned.card
    assert [read.choose(p, CANDIDATES, SURE_ENOUGH).model for p in prompts] == [
        learned.choose(p, CANDIDATES, SURE_ENOUGH).model for p in prompts
    ]


def test_a_broken_or_foreign_file_is_refused(learned: RouteScorer, tmp_path: Path) -> None:
    path = tmp_path / "route.txt"
    learned.save(path)
    path.write_text(path.read_text()[:-200])
    with pytest.raises(ArtifactError, match="broken"):
        RouteScorer.load(path)
    artifact.write(path, {"kind": "category"})
    with pytest.raises(ArtifactError, match="'category', not a route"):
        RouteScorer.load(path)
    with pytest.raises(ArtifactError, match="kind"):
        RouteScorer.from_content({"kind": "route", "body": {"models": []}})


def test_same_rows_give_the_same_scorer() -> None:
    prompts, outcomes = traffic(320)
    one, two = (RouteScorer.fit(prompts, outcomes, models=MODELS) for _ in range(2))
    assert one.expected_losses(prompts[:30], *MODELS) == two.expected_losses(prompts[:30], *MODELS)


def test_the_parts_of_a_loss_add_up_to_it(learned: RouteScorer) -> None:
    told = learned.explain("prove that x3 is irrational", *MODELS)
    loss = learned.expected_loss("prove that x3 is irrational", *MODELS)
    assert told.probability == pytest.approx(loss.mean)
    assert told.base + sum(value for _, value in told.parts) == pytest.approx(loss.mean)


def test_the_held_out_share_is_kept_and_a_retry_falls_on_the_same_side() -> None:
    keys = [f"run {number}" for number in range(20_000)]
    held = [is_held_out(key) for key in keys]
    assert np.mean(held) == pytest.approx(0.03, abs=0.005)
    assert held == [is_held_out(key) for key in keys]


@pytest.mark.parametrize("prompts", [[], ["a"]])
def test_outcomes_that_do_not_fit_the_prompts_are_refused(prompts: list[str]) -> None:
    with pytest.raises(RowsError):
        RouteScorer.fit(prompts, [], models=MODELS)


def test_an_outcome_outside_its_range_or_a_weight_of_nothing_is_refused() -> None:
    with pytest.raises(RowsError, match=r"0\.\.1"):
        RouteScorer.fit(["a"], [{"cheap": 7.0}], models=MODELS)
    with pytest.raises(RowsError, match="weight"):
        RouteScorer.fit(["a"], [{"cheap": 1.0}], models=MODELS, weights=[0.0])


def test_a_strange_prompt_moves_only_where_it_is_expected_to_lose_nothing(learned: RouteScorer) -> None:
    key = (MODELS[0], MODELS[1])
    for mean, upper, moves in ((-0.3, -0.1, True), (-0.1, 0.05, False), (0.05, 0.08, False)):
        loss = Loss(mean, upper, familiar=0.1, judged=1_000)
        assert (learned.refusal(loss, key, 0.1, "traffic") == "") is moves
        assert (learned.refusal(loss, key, 0.1, "request") == "") is (upper <= 0.1)
