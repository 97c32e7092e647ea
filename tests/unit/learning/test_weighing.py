"""How much a learned probability weighs beside the formula."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.learning.model import TrainingRows
from app.learning.weighing import WEIGHTS, ScoreLater, chance_error, ordered, weigh

ROWS = 200


def rows(formula: Sequence[float], labels: Sequence[int]) -> TrainingRows:
    columns: dict[str, Sequence[object]] = {"role": ["Lector"] * len(labels), "formula": list(formula)}
    return TrainingRows(columns, labels, [1.0] * len(labels), [float(at) for at in range(len(labels))])


def telling(values: Sequence[float]) -> ScoreLater:
    return lambda _, asked: [values[at] for at in asked]


LABELS = [at % 2 for at in range(ROWS)]
MISLED = [(at % 7) / 2 for at in range(ROWS)]  # a formula that knows nothing of the labels


def test_a_probability_that_knows_gets_a_weight_that_overrules_the_formula() -> None:
    judged = weigh(rows(MISLED, LABELS), telling([float(label) for label in LABELS]))
    assert judged.promotes
    assert judged.weight == 4.0  # the least that outweighs a formula from 0 to 3
    assert (judged.together, judged.pairs) == (1.0, 400)
    assert judged.alone == pytest.approx(0.5, abs=0.1)


def test_a_probability_that_knows_no_more_than_the_formula_does_not_serve() -> None:
    knowing = [float(label) for label in LABELS]
    judged = weigh(rows(knowing, LABELS), telling(knowing))
    assert not judged.promotes
    assert (judged.together, judged.alone) == (1.0, 1.0)


def test_a_probability_that_is_wrong_does_not_serve_and_weighs_least() -> None:
    judged = weigh(rows(MISLED, LABELS), telling([1.0 - label for label in LABELS]))
    assert not judged.promotes
    assert judged.weight == WEIGHTS[0]


def test_only_later_rows_are_asked_and_only_earlier_ones_teach() -> None:
    asked: list[tuple[int, int, int]] = []

    def score(known: Sequence[int], later: Sequence[int]) -> list[float]:
        asked.append((max(known), min(later), len(later)))
        return [0.5] * len(later)

    weigh(rows(MISLED, LABELS), score)
    assert asked == [(119, 120, 80)]


def test_the_two_rows_of_a_correction_stay_on_one_side() -> None:
    data = rows(MISLED, LABELS)
    paired = TrainingRows(data.columns, LABELS, data.weights, [float((at + 1) // 2) for at in range(ROWS)])
    last: list[int] = []

    def score(known: Sequence[int], later: Sequence[int]) -> list[float]:
        last.append(max(known))
        return [0.5] * len(later)

    weigh(paired, score)
    assert paired.times_s[last[0]] != paired.times_s[last[0] + 1]


@pytest.mark.parametrize("labels", [[1] * ROWS, [0] * ROWS, [1, 0]])
def test_where_nothing_can_be_compared_nothing_serves(labels: list[int]) -> None:
    judged = weigh(rows(MISLED[: len(labels)], labels), telling([0.5] * ROWS))
    assert not judged.promotes
    assert "too few" in judged.reason


def test_pairs_are_of_one_role_and_ties_count_half() -> None:
    assert ordered(["a", "a", "b"], [1, 0, 0], [2.0, 1.0, 9.0]) == (1.0, 1)
    assert ordered(["a", "a", "b", "b"], [1, 0, 1, 0], [1.0, 1.0, 0.0, 1.0]) == (0.25, 2)
    assert ordered(["a", "b"], [1, 0], [1.0, 0.0]) == (0.5, 0)


def test_chance_reaches_further_with_fewer_rows() -> None:
    assert chance_error([0, 1] * 8) == pytest.approx((2 / 8 / 12) ** 0.5)
    assert chance_error([0, 1] * 200) < 0.03
