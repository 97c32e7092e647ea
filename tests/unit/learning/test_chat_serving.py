"""Routes that move down on evidence, and what serves when there is none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from app.chat.model import FAST, LONG_CONTEXT, MEDIUM, THINKING, Asked, Category, Chosen
from app.chat.routing import move_down, route_by_category, try_lower
from app.gateway.model import ModelAnswer
from app.learning.chat_serving import Current, LearnedRoutes
from app.learning.model import TrainingRows, Version
from app.learning.ports import TooFewSamplesError, UnusableArtifactError
from app.learning.route import FEWEST_JUDGED, FEWEST_OF_EACH, RouteModel, count_judged, read_header, write_header
from app.learning.service import Serving
from ml.route import Choice, Loss

VERSION = Version(7, "route", "serving", "route/x.txt", "", "routes-2")
PLENTY = {f"{category} {model}": 100 for category in "LM" for model in (FAST, MEDIUM, THINKING)}
PRICES = {FAST: Decimal("0.0001"), MEDIUM: Decimal("0.001"), THINKING: Decimal("0.01")}


@dataclass
class Losses:
    """A fitted scorer that expects these losses of the weaker model."""

    uppers: dict[str, float] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)

    def expected_loss(self, prompt: str, weaker: str, stronger: str) -> tuple[float, float]:
        self.asked.append((prompt, weaker, stronger))
        if prompt == "break":
            raise RuntimeError("broken")
        upper = self.uppers[weaker]
        return upper - 0.01, upper

    def choose(self, prompt: str, candidates: Sequence[tuple[str, float]], max_loss: float, *, per: str) -> Choice:
        assert per == "traffic"
        (weaker, _), (stronger, _) = candidates
        mean, upper = self.expected_loss(prompt, weaker, stronger)
        return Choice(weaker if upper <= max_loss else stronger, "so", 0.0, Loss(mean, upper, 1.0, 300))


@dataclass
class Shop:
    """Prices; what is not in it is not served."""

    usd: dict[str, Decimal] = field(default_factory=lambda: dict(PRICES))

    def available(self, model: str) -> bool:
        return model in self.usd

    def estimate_usd(self, model: str, prompt_tokens: int) -> Decimal:
        del prompt_tokens
        return self.usd[model]

    def same_tokens_usd(self, model: str, answer: ModelAnswer) -> Decimal:
        raise AssertionError(f"nobody asks what {answer} of {model} would have cost")


@dataclass
class Fixed:
    """A registry in which this serves."""

    found: Serving

    def serving(self, scorer: str) -> Serving:
        assert scorer == "route"
        return self.found


def routes(
    uppers: dict[str, float], *, judged: dict[str, int] | None = None, shop: Shop | None = None
) -> LearnedRoutes:
    model = RouteModel(Losses(uppers), PLENTY if judged is None else judged)
    registry: Any = Fixed(Serving(VERSION, model))
    return LearnedRoutes(Current(lambda: registry, "route"), shop or Shop(), 0.02)


def propose(found: LearnedRoutes, category: Category = Category.L, message: str = "Why?") -> str | None:
    move = found.propose(Asked(message), route_by_category(category, "so"))
    return None if move is None else move.model


@pytest.mark.parametrize(
    ("fast", "medium", "expected"),
    [(0.02, 0.0, FAST), (0.021, 0.02, MEDIUM), (0.021, 0.021, None), (-0.1, 0.9, FAST)],
)
def test_the_cheapest_model_whose_loss_is_small_for_sure_is_proposed(
    fast: float, medium: float, expected: str | None
) -> None:
    assert propose(routes({FAST: fast, MEDIUM: medium})) == expected


def test_a_proposal_says_from_how_many_cases_and_which_version() -> None:
    move = routes({FAST: 1.0, MEDIUM: 0.01}).propose(Asked("Why?"), route_by_category(Category.L, "so"))
    assert move is not None
    for words in ("100 judged answers", "100 of thinking_ai", "category L", "at most +1.0%", "route-7"):
        assert words in move.evidence


@pytest.mark.parametrize("missing", [f"L {MEDIUM}", f"L {THINKING}"])
def test_few_verdicts_of_either_model_in_the_category_move_nothing(missing: str) -> None:
    uppers = {FAST: 1.0, MEDIUM: -1.0}
    assert propose(routes(uppers, judged=PLENTY | {missing: FEWEST_OF_EACH})) == MEDIUM
    assert propose(routes(uppers, judged=PLENTY | {missing: FEWEST_OF_EACH - 1})) is None


def test_only_down_and_only_to_what_is_served_and_cheaper() -> None:
    everything = {FAST: -1.0, MEDIUM: -1.0, THINKING: -1.0}
    assert propose(routes(everything), Category.M) == FAST
    assert propose(routes(everything, shop=Shop({MEDIUM: Decimal(1), THINKING: Decimal(2)}))) == MEDIUM
    dear = Shop({FAST: Decimal(3), MEDIUM: Decimal(1), THINKING: Decimal(2)})
    assert propose(routes(everything, shop=dear)) == MEDIUM
    assert propose(routes(everything, shop=dear), Category.M) is None


@pytest.mark.parametrize(
    "chosen",
    [route_by_category(Category.H, "so"), Chosen(Category.L, LONG_CONTEXT, "long"), Chosen(Category.M, FAST, "")],
)
def test_plans_special_models_and_the_cheapest_stay_and_nobody_is_asked(chosen: Chosen) -> None:
    found = routes({FAST: -1.0, MEDIUM: -1.0})
    assert found.propose(Asked("Why?"), chosen) is None


def test_a_scorer_that_breaks_on_a_message_leaves_the_documented_route() -> None:
    assert propose(routes({FAST: -1.0, MEDIUM: -1.0}), message="break") is None


def test_nothing_is_moved_while_no_version_serves() -> None:
    registry: Any = Fixed(Serving())
    assert propose(LearnedRoutes(Current(lambda: registry, "route"), Shop(), 0.02)) is None


def test_a_share_is_tried_one_step_down_and_says_so() -> None:
    chosen = route_by_category(Category.L, "so")
    tried = try_lower(chosen, 0.049, 0.05)
    assert (tried.model, tried.moved_from) == (MEDIUM, THINKING)
    assert "tries a cheaper model" in tried.reason
    assert try_lower(chosen, 0.05, 0.05) == chosen
    assert try_lower(route_by_category(Category.H, "so"), 0.0, 1.0).moved_from is None
    assert move_down(chosen, THINKING, "up is not down") == chosen


def verdicts(count: int, models: tuple[str, ...]) -> TrainingRows:
    chosen = [models[place % len(models)] for place in range(count)]
    columns = {"message": ["x"] * count, "category": ["M"] * count, "model": chosen}
    return TrainingRows(columns, [1] * count, [1.0] * count, [0.0] * count)


def test_below_300_verdicts_or_of_one_model_alone_nothing_is_learned() -> None:
    assert count_judged(verdicts(FEWEST_JUDGED, (FAST, MEDIUM))) == {f"M {FAST}": 150, f"M {MEDIUM}": 150}
    with pytest.raises(TooFewSamplesError, match="299 judged answers"):
        count_judged(verdicts(FEWEST_JUDGED - 1, (FAST, MEDIUM)))
    with pytest.raises(TooFewSamplesError, match="more than one model"):
        count_judged(verdicts(FEWEST_JUDGED, (MEDIUM,)))


def test_what_verdicts_were_counted_is_kept_with_the_scorer() -> None:
    assert read_header(write_header(PLENTY)) == PLENTY
    for broken in ("", "batuta-route 1 judged=", "batuta-route 1 judged=[]", 'batuta-route 1 judged={"a": "b"}'):
        with pytest.raises(UnusableArtifactError):
            read_header(broken)
