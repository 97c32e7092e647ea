"""What an answer of a model costs on a prompt, learned from what its answers did cost.

Symbols: n prompts · f shape columns · m models.

A ridge on log dollars along the text's shape: a hundred numbers a model. Words beside the shape foresee dollars better,
but the days of `bench/day.py` went no better by them. A level a model makes the dollars' mean hold, which logs lose.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ml import artifact
from ml.frame import Floats

FEWEST = 30  # answers of a model whose dollars are known; with fewer nothing is said of it
PENALTY = 100.0  # rows' worth: an answer's dollars scatter widely about what its prompt tells
CLIP = 3.0  # standard deviations at which the shape stops counting
LEAST_USD = 1e-6  # a ledger's smallest step; what costs nothing has a logarithm too
FOLDS = 4


@dataclass(frozen=True)
class Costs:
    """Expected dollars of answers.

    Args:
        models: those of which enough is known.
        mean: of the shape, shape (f,).
        spread: of the shape, shape (f,).
        weights: on log dollars, shape (f + 1, m), the last row the levels.
    """

    models: tuple[str, ...]
    mean: Floats
    spread: Floats
    weights: Floats

    @classmethod
    def fit(cls, shape: Floats, dollars: Floats, models: Sequence[str]) -> Costs:
        """Learn from answers.

        Args:
            shape: of the prompts, shape (n, f).
            dollars: of the answers, shape (n, len(models)); NaN where there was none.
            models: of its columns.
        """
        mean, spread = shape.mean(axis=0), np.maximum(shape.std(axis=0), 1e-6)
        columns = _scaled(shape, mean, spread)
        known = ~np.isnan(dollars)
        enough = np.flatnonzero(known.sum(axis=0) >= FEWEST)
        weights = [_fit_one(columns[known[:, j]], dollars[known[:, j], j]) for j in enough]
        names = tuple(models[int(j)] for j in enough)
        return cls(names, mean, spread, np.reshape(weights, (len(names), shape.shape[1] + 1)).T)

    def expect(self, shape: Floats, model: str) -> Floats | None:
        """Give each prompt's expected dollars, shape (n,); None where too little is known of the model."""
        if model not in self.models:
            return None
        weights = self.weights[:, self.models.index(model)]
        expected: Floats = np.exp(_scaled(shape, self.mean, self.spread) @ weights[:-1] + weights[-1])
        return expected

    def saved(self, shape: Floats, weaker: str, stronger: str) -> Floats | None:
        """Give what the weaker model's answers are expected to save, shape (n,), below 0 where they cost more."""
        low, high = self.expect(shape, weaker), self.expect(shape, stronger)
        return None if low is None or high is None else high - low

    def to_json(self) -> dict[str, Any]:
        """Write the costs as JSON."""
        arrays = {"mean": self.mean, "spread": self.spread, "weights": self.weights}
        return {"models": list(self.models)} | {name: artifact.pack(array) for name, array in arrays.items()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Costs:
        """Read what `to_json` wrote."""
        mean, spread, weights = (artifact.unpack(value[name]) for name in ("mean", "spread", "weights"))
        return cls(tuple(map(str, value["models"])), mean, spread, weights)


def saved_unseen(shape: Floats, dollars: Floats, seed: int = 0) -> Floats | None:
    """Give what a weaker model is expected to save on each prompt, by costs that were learned without that prompt.

    Args:
        shape: of the prompts, shape (n, f).
        dollars: of the weaker and the stronger model's answers, shape (n, 2); NaN where there was none.
        seed: of the folds.

    Returns:
        Shape (n,), below 0 where it costs more; None where too little is known of either.
    """
    fold = np.random.default_rng(seed).permutation(len(shape)) % FOLDS
    found = np.zeros(len(shape))
    for number in range(FOLDS):
        inside, aside = fold != number, fold == number
        costs = Costs.fit(shape[inside], dollars[inside], ("weaker", "stronger"))
        saved = costs.saved(shape[aside], "weaker", "stronger")
        if saved is None:
            return None
        found[aside] = saved
    return found


def _scaled(shape: Floats, mean: Floats, spread: Floats) -> Floats:
    return np.asarray(np.clip((shape - mean) / spread, -CLIP, CLIP), dtype=np.float64)


def _fit_one(columns: Floats, dollars: Floats) -> Floats:
    """Fit one model's answers: shape (f + 1,)."""
    paid = np.maximum(dollars, LEAST_USD)
    middle, level = columns.mean(axis=0), float(np.log(paid).mean())
    along = columns - middle
    bent = along.T @ along + PENALTY * np.eye(columns.shape[1])
    weights = np.linalg.solve(bent, along.T @ (np.log(paid) - level))
    base = np.log(paid.mean() / np.exp(columns @ weights).mean())
    return np.append(weights, base)
