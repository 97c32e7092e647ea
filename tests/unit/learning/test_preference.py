"""What a scorer of likes has to beat before it serves: the rates that serve without one."""

from __future__ import annotations

import random

import numpy as np
import pytest

import ml
from app.learning.model import TrainingRows
from app.learning.preference import PreferenceLearner, smoothed_rates
from app.studio.model import like_rate

ROWS = 600
HELD_OUT = 120  # the newest fifth


def rows(*, hidden: bool, seed: int = 3) -> TrainingRows:
    """Give showings of twelve structures; how well one is liked shows in its colour, or only in itself when hidden."""
    rng = random.Random(seed)
    structures = [rng.randrange(12) for _ in range(ROWS)]
    rates = [0.1 + 0.7 * ((one * 5 % 12) / 11) if hidden else (0.1, 0.75)[one % 2] for one in range(12)]
    return TrainingRows(
        columns={
            "item": [str(one) for one in structures],
            "colour": [("red", "blue")[one % 2] for one in structures],
        },
        labels=[int(rng.random() < rates[one]) for one in structures],
        weights=[1.0] * ROWS,
        times_s=[float(at) for at in range(ROWS)],
        item="item",
    )


def log_loss(labels: np.ndarray, scores: np.ndarray) -> float:
    return float(-np.mean(labels * np.log(scores) + (1 - labels) * np.log(1 - scores)))


def test_the_baseline_is_the_rate_that_serves_while_no_scorer_does() -> None:
    items = np.array(["a", "a", "b", "a", "c"], dtype=object)
    found = smoothed_rates(
        items, np.array([1.0, 0, 1, 1, 0]), np.array([1.0, 4, 1, 2, 7]), np.array(["c", "a", "b", "new"], dtype=object)
    )
    served = [like_rate(liked, shown) for liked, shown in ((0, 7), (3, 7), (1, 1), (0, 0))]
    assert found.tolist() == pytest.approx(served)


@pytest.mark.parametrize("hidden", [True, False])
def test_a_first_scorer_is_compared_with_each_structures_own_rate_on_rows_it_has_not_seen(*, hidden: bool) -> None:
    data = rows(hidden=hidden)
    trained = PreferenceLearner(threads=1).train(data, None)
    items, labels = np.array(data.columns["item"], dtype=object), np.array(data.labels, dtype=float)
    before, after = slice(0, ROWS - HELD_OUT), slice(ROWS - HELD_OUT, ROWS)
    served = smoothed_rates(items[before], labels[before], np.ones(ROWS - HELD_OUT), items[after])
    assert trained.metrics["held_out"] == HELD_OUT
    assert trained.metrics["baseline_log_loss"] == pytest.approx(log_loss(labels[after], served))
    gained = trained.metrics["log_loss"] - trained.metrics["baseline_log_loss"]
    assert trained.card["verdict"]["difference"] == pytest.approx(gained)
    assert trained.promotes is (gained < 0)


def test_what_one_attribute_tells_no_longer_lets_a_scorer_serve_that_the_rates_beat() -> None:
    """The same rows and scorer: better than the best attribute's rate, and not better than what would serve."""
    data = rows(hidden=True)
    columns = {"colour": list(data.columns["colour"])}

    def nearly_right(items: np.ndarray, _labels: object, _weights: object, asked: np.ndarray) -> np.ndarray:
        assert len(items) + len(asked) == ROWS  # the newest are kept aside, in their order
        return 0.05 + 0.9 * np.array(data.labels[len(items) :], dtype=float)

    def fit(baseline: ml.table.ItemRule | None) -> ml.Verdict:
        fitted = ml.fit(
            dict(columns),
            list(data.labels),
            time=list(data.times_s),
            item=list(data.columns["item"]),
            options=ml.Options(baseline=baseline),
        )
        return fitted.card.verdict

    assert fit(None).promote
    assert not fit(nearly_right).promote
