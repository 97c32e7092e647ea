"""The scorer of routes over its real mathematics: verdicts in, moves on evidence out."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from app.chat.model import MEDIUM, THINKING
from app.learning.model import Columns, TrainingRows
from app.learning.ports import UnusableArtifactError
from app.learning.route import Candidate, RouteLearner, RouteModel
from ml.route import RouteScorer

EASY = "What is the capital of {place}, and which river runs through it?"
HARD = "Prove that the sum of {place} consecutive cubes is the square of a triangular number, step by step."
CANDIDATES = [Candidate(MEDIUM, Decimal("0.001")), Candidate(THINKING, Decimal("0.01"))]


def verdicts(count: int) -> TrainingRows:
    """Judged answers: the cheaper model does as well on easy questions and fails at the hard ones, which are dearer."""
    draw = random.Random(7)
    messages, models, labels, dollars = [], [], [], []
    for place in range(count):
        hard, model = draw.random() < 0.5, draw.choice([MEDIUM, THINKING])
        messages.append((HARD if hard else EASY).format(place=f"place {place}"))
        models.append(model)
        labels.append(int(draw.random() < (0.05 if hard and model == MEDIUM else 0.98)))
        dollars.append((0.03 if hard else 0.01) * (0.1 if model == MEDIUM else 1.0))
    columns: Columns = {"message": messages, "category": ["L"] * count, "model": models, "dollars": dollars}
    return TrainingRows(columns, labels, [1.0] * count, [float(place) for place in range(count)])


@pytest.fixture(scope="module")
def artifact() -> str:
    trained = RouteLearner().train(verdicts(1200), None)
    assert trained.promotes, trained.reason
    return trained.artifact


def test_easy_messages_move_down_on_evidence_and_hard_ones_stay(artifact: str) -> None:
    model = RouteLearner().load(artifact)
    moved = model.choose(EASY.format(place="place 9999"), "L", CANDIDATES, 0.05)
    assert moved is not None
    assert moved.model == MEDIUM
    assert "judged answers" in moved.evidence
    assert "times what moving an average message saves" in moved.evidence
    assert model.choose(HARD.format(place="place 9999"), "L", CANDIDATES, 0.05) is None


def test_nothing_moves_in_a_category_nobody_judged(artifact: str) -> None:
    assert RouteLearner().load(artifact).choose(EASY.format(place="place 9999"), "M", CANDIDATES, 0.05) is None


def test_the_same_verdicts_make_the_same_artifact(artifact: str) -> None:
    assert RouteLearner().train(verdicts(1200), None).artifact == artifact


@pytest.mark.parametrize("harm", ["", "batuta-route 1 judged={}", "batuta-route 1 judged={}\nnonsense"])
def test_a_broken_artifact_is_refused(harm: str) -> None:
    with pytest.raises(UnusableArtifactError):
        RouteLearner().load(harm)


def test_the_expected_loss_is_greater_where_the_cheaper_model_fails(artifact: str) -> None:
    model = RouteLearner().load(artifact)
    assert isinstance(model, RouteModel)
    columns = {"message": [EASY.format(place="x"), HARD.format(place="x")], "model": [MEDIUM, MEDIUM]}
    easy, hard = model.score(columns).scores
    assert hard > easy + 0.3


def test_what_a_move_saves_is_learned_from_the_dollars_of_judged_answers(artifact: str) -> None:
    fitted = RouteLearner().load(artifact).fitted
    assert isinstance(fitted, RouteScorer)
    easy, hard = fitted.expected_losses([EASY.format(place="x"), HARD.format(place="x")], MEDIUM, THINKING)
    assert hard.saving == pytest.approx(3 * easy.saving, rel=0.3)


def test_verdicts_without_dollars_teach_losses_alone() -> None:
    data = verdicts(400)
    columns = dict(data.columns) | {"dollars": [None] * 400}
    trained = RouteLearner().train(TrainingRows(columns, data.labels, data.weights, data.times_s), None)
    fitted = RouteLearner().load(trained.artifact).fitted
    assert isinstance(fitted, RouteScorer)
    assert fitted.costs is None
