"""How much a learned probability weighs beside the assignments' formula, decided on feedback it has not seen.

score = formula + weight · P(accepted): it rises with both, and no learned part moves a score by more than its weight.

The oldest three fifths of the feedback teach a scorer; the next fifth chooses the weight; the newest fifth judges. What
counts is the order: of two persons judged in one role, the accepted one should have the higher score. It serves when
both fifths are in better order with it than by the formula alone, and the newest one in more than chance's.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.learning.model import TrainingRows

WEIGHTS = (0.5, 1.0, 2.0, 4.0, 8.0)  # the formula's own terms are mostly within 1
PLAIN_WEIGHT = 1.0  # named where none could be chosen; such a scorer does not serve
HALF = 0.5  # of all pairs are in order by chance
FEWEST_PAIRS = 20  # with fewer, one surprise decides

ScoreLater = Callable[[Sequence[int], Sequence[int]], list[float]]


@dataclass(frozen=True)
class Judged:
    """What came of it.

    Args:
        weight: the chosen one.
        promotes: beside the formula it orders people better than the formula alone.
        pairs: how many the newest fifth had.
        together: share of them in the right order, ties half; None without pairs.
        alone: the same by the formula alone.
    """

    weight: float
    promotes: bool
    reason: str
    pairs: int = 0
    together: float | None = None
    alone: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Write the figures among a version's metrics."""
        return {
            "formula_weight": self.weight,
            "pairs": self.pairs,
            "order_with_formula": self.together,
            "order_of_formula": self.alone,
        }


def weigh(data: TrainingRows, score_later: ScoreLater) -> Judged:
    """Choose a weight, and judge it.

    Args:
        data: feedback, oldest first, with a column `formula` and one `role`.
        score_later: fits a scorer on the rows of the first argument, and scores those of the second.
    """
    first, second = _cut(data.times_s, 0.6), _cut(data.times_s, 0.8)
    known, asked = range(first), range(first, len(data.labels))
    if not known or len({data.labels[at] for at in known}) < len({0, 1}):
        return _undecided(0)
    learned = dict(zip(asked, score_later(known, asked), strict=True))

    def order(rows: Sequence[int], weight: float) -> tuple[float, int]:
        score = {at: data.columns["formula"][at] + weight * learned[at] for at in rows}
        return ordered(
            [data.columns["role"][at] for at in rows],
            [data.labels[at] for at in rows],
            [score[at] for at in rows],
        )

    choosing, judging = range(first, second), range(second, len(data.labels))
    # Of equal ones the smallest: the formula is what people know.
    weight = max(WEIGHTS, key=lambda one: (order(choosing, one)[0], -one))
    (together, pairs), (alone, _) = order(judging, weight), order(judging, 0.0)
    if min(pairs, order(choosing, weight)[1]) < FEWEST_PAIRS:
        return _undecided(pairs)
    better = together > alone and order(choosing, weight)[0] > order(choosing, 0.0)[0]
    better = better and together > HALF + chance_error([data.labels[at] for at in judging])
    word = "better" if better else "no better"
    reason = (
        f"beside the formula, weighing {weight:g}, it orders people {word} than the formula alone: {together:.3f} of"
        f" {pairs} later pairs against {alone:.3f}"
    )
    return Judged(weight, better, reason, pairs, together, alone)


def ordered(roles: Sequence[Any], labels: Sequence[int], scores: Sequence[float]) -> tuple[float, int]:
    """Give the share of pairs of one role whose accepted row has the higher score, and how many pairs there are.

    Returns:
        (.5, 0) without pairs; ties count half.
    """
    import numpy as np  # noqa: PLC0415 - a process that trains nothing never loads the mathematics

    from ml.metrics import auc  # noqa: PLC0415 - the same

    members: defaultdict[Any, list[int]] = defaultdict(list)
    for at, role in enumerate(roles):
        members[role].append(at)
    right, pairs = 0.0, 0
    for rows in members.values():
        y = np.array([labels[at] for at in rows])
        count = int(y.sum()) * int(len(y) - y.sum())
        right += count * auc(y, np.round([scores[at] for at in rows], 9))
        pairs += count
    return (right / pairs, pairs) if pairs else (HALF, 0)


def chance_error(labels: Sequence[int]) -> float:
    """Give the standard error of the share of ordered pairs where scores are chance; labels of both kinds are needed.

    Source: the variance of the Mann-Whitney statistic without ties, its small term left out.
    """
    accepted = sum(labels)
    return math.sqrt((1 / accepted + 1 / (len(labels) - accepted)) / 12)


def _cut(times_s: Sequence[float], share: float) -> int:
    """Find where to cut; rows of one moment, such as a correction's two, stay on one side."""
    at = int(share * len(times_s))
    while 0 < at < len(times_s) and times_s[at] == times_s[at - 1]:
        at += 1
    return at


def _undecided(pairs: int) -> Judged:
    return Judged(PLAIN_WEIGHT, promotes=False, reason=f"{pairs} later pairs are too few to judge on", pairs=pairs)
