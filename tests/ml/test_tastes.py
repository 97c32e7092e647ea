from __future__ import annotations

import numpy as np
import pytest

from ml import Options, Preference, fit
from ml.booster import Choices
from ml.frame import Array
from ml.metrics import log_losses

Rows = tuple[Array, Array, Array]


def persons_who_differ(by: float, *, persons: int = 100, rows: int = 3000, columns: int = 12) -> Rows:
    """Draw attributes, likes and persons whose weights differ by a standard deviation of `by`."""
    rng = np.random.default_rng(10)
    matrix = rng.standard_normal((rows, columns))
    own = rng.standard_normal((persons, columns)) * by
    person = rng.integers(persons, size=rows)
    utility = matrix @ (rng.standard_normal(columns) * 0.5) + (matrix * own[person]).sum(axis=1)
    likes = (rng.random(rows) < 1 / (1 + np.exp(-utility))).astype(np.float64)
    return matrix, likes, np.array([f"p{j}" for j in person], dtype=object)


def losses(rows: Rows) -> tuple[float, float]:
    """Learn from the first two thirds, and give the loss on the rest: as known persons, and as strangers."""
    matrix, likes, person = rows
    known, asked = slice(0, 2000), slice(2000, None)
    scorer = fit(matrix[known], likes[known], person[known], options=Options(parameters={"num_iterations": 20}))
    assert isinstance(scorer, Preference)
    own = log_losses(likes[asked], scorer.score(matrix[asked], person[asked]))
    return float(own.mean()), float(log_losses(likes[asked], scorer.score(matrix[asked])).mean())


def test_persons_who_do_not_differ_lose_nothing_by_being_told_apart() -> None:
    own, stranger = losses(persons_who_differ(0.0))
    # what is left is the base of each person, which twenty rows tell little about
    assert own < stranger + 0.01


def test_persons_with_hardly_more_rows_than_weights_are_told_apart_all_the_same() -> None:
    own, stranger = losses(persons_who_differ(1.0))
    assert own < stranger - 0.05


def test_slopes_of_choices_are_those_of_the_loss() -> None:
    rng = np.random.default_rng(11)
    question = np.array([3, 3, 3, 1, 1, 7, 7, 7, 7])
    label = np.array([0, 1, 0, 1, 0, 0, 0, 0, 1.0])
    weight = np.array([2, 2, 2, 1, 1, 1, 1, 1, 1.0])
    choices, utility = Choices(question, label, weight), rng.standard_normal(9)
    slope, curvature = choices.slopes(utility, None)
    assert np.all(curvature > 0)
    for row in range(9):
        step = np.zeros(9)
        step[row] = 1e-5
        above, below = (choices.loss(utility + sign * step, None)[1] * 4 for sign in (1, -1))
        # the loss is a mean over a weight of 4: one choice of 2, two of 1
        assert slope[row] == pytest.approx((above - below) / 2e-5, abs=1e-6)
