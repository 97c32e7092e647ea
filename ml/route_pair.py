"""What is known of two models: the stronger one's gain, what moving down saves, and how much of it may be moved.

Symbols: saving = dollars that moving a prompt down saves, as a multiple of the average prompt's; 1 where dollars are
unknown · rate = loss of quality paid for as many dollars as the average prompt saves.

Under one bound on what all traffic loses, most is saved by moving in order of rate: what costs no quality comes first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml.frame import Floats
from ml.gain import Evidence, Gain, fit_gain
from ml.gain_parts import Judged

FEWEST = 300  # judged outcomes of two models together
FEWEST_EACH = 60  # of either: a comparison is as good as its rarer side
CERTAINTY = 1.28  # standard errors: nine upper bounds in ten hold
FAMILIAR = 0.5  # a prompt less familiar than this is strange: it is left out of the bound, and moves by itself only
CUTS = 64  # places at which the loss of moving everything below is kept
LEAST_SAVING = 0.05  # of the average prompt's: what saves less, or nothing, counts as this


@dataclass(frozen=True)
class Pair:
    """What is known of two models.

    Args:
        judged: outcomes of the weaker and of the stronger one.
        difference: overall, strong less weak, each over its own prompts.
        gain: None with too few outcomes.
        cuts: shape (m, 2), rising: rate up to which all is moved, upper bound of what the familiar
            then lose, as a share of all traffic.
        usual_usd: what moving the average prompt saves; 0 where that is unknown.
    """

    judged: tuple[int, int]
    difference: float
    gain: Gain | None
    cuts: Floats = field(default_factory=lambda: np.zeros((0, 2)))
    usual_usd: float = 0.0

    @classmethod
    def fit(cls, judged: Judged, saved_usd: Floats | None, *, threads: int, seed: int) -> tuple[Pair, Evidence | None]:
        """Learn from judged answers.

        Args:
            judged: prompts and how the two models did.
            saved_usd: what moving each of them is expected to save, by costs learned without it, shape (n,).
            threads: of trees; the result does not depend on it.
            seed: of folds, topics and trees.
        """
        known = judged.known
        counts = (int(known[:, 0].sum()), int(known[:, 1].sum()))
        means = (known * judged.weight[:, None] * np.nan_to_num(judged.good)).sum(axis=0) / np.maximum(
            (known * judged.weight[:, None]).sum(axis=0), 1e-9
        )
        difference = float(means[1] - means[0]) if min(counts) else 1.0
        if sum(counts) < FEWEST or min(counts) < FEWEST_EACH:
            return cls(counts, difference, None), None
        gain, evidence = fit_gain(judged, threads=threads, seed=seed)
        usual_usd = 0.0 if saved_usd is None else max(0.0, float(np.average(saved_usd, weights=judged.weight)))
        cuts = _cuts(evidence, savings(saved_usd, usual_usd, len(judged)))
        return cls(counts, difference, gain, cuts, usual_usd), evidence

    def allowed(self, max_loss: float, saving: float) -> float:
        """Give the loss up to which a prompt of this saving may move down; -inf when none may."""
        within = self.cuts[self.cuts[:, 1] <= max_loss, 0]
        rate = float(within.max()) if len(within) else -np.inf
        return rate * saving if rate > 0 else rate / saving

    def to_json(self) -> dict[str, Any]:
        """Write the pair as JSON."""
        return {
            "judged": list(self.judged),
            "difference": self.difference,
            "gain": None if self.gain is None else self.gain.to_json(),
            "cuts": self.cuts.tolist(),
            "usual_usd": self.usual_usd,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Pair:
        """Read what `to_json` wrote; a pair from before dollars were learned has none."""
        weak, strong = value["judged"]
        gain = None if value["gain"] is None else Gain.from_json(value["gain"])
        cuts = np.array(value["cuts"], dtype=np.float64).reshape(-1, 2)
        usual_usd = float(value.get("usual_usd", 0.0))
        return cls((int(weak), int(strong)), float(value["difference"]), gain, cuts, usual_usd)


def savings(saved_usd: Floats | None, usual_usd: float, rows: int) -> Floats:
    """Give dollars saved as multiples of the usual, shape (rows,): at least LEAST_SAVING, 1 where they are unknown."""
    if saved_usd is None or usual_usd <= 0:
        return np.ones(rows)
    return np.maximum(saved_usd / usual_usd, LEAST_SAVING)


def rates(loss: Floats, saving: Floats) -> Floats:
    """Give losses per saving; where nothing is lost, more of either still comes first."""
    return np.where(loss > 0, loss / saving, loss * saving)


def _cuts(evidence: Evidence, saving: Floats) -> Floats:
    """Bound what is lost over all traffic when everything familiar below a rate moves down; what is strange stays."""
    rate = rates(evidence.expected, saving)
    order = np.argsort(rate, kind="stable")
    share = evidence.weight[order] / evidence.weight.sum()
    lost = np.where(evidence.familiar >= FAMILIAR, evidence.gains, 0.0)[order]
    mean = np.cumsum(share * lost)
    error = np.sqrt(np.maximum(0.0, np.cumsum(share**2 * lost**2) - mean**2 / len(order)))
    upper = np.maximum.accumulate(mean + CERTAINTY * error + 1.0 / len(order))  # as if one more were lost than was seen
    sorted_rate = rate[order]
    ends = np.flatnonzero(np.append(np.diff(sorted_rate) > 0, True))
    places = ends[np.unique(np.linspace(0, len(ends) - 1, CUTS).astype(int))]
    return np.column_stack([sorted_rate[places], upper[places]])
