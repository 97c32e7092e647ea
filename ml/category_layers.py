"""The layers of a request's category: words in a softmax, its margins and the text's shape in trees, then calibration.

Symbols: n requests · K labels · s sparse columns · f shape columns · margin = the softmax's utility of a label.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import lightgbm as lgb
import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from ml import artifact, wording
from ml.booster import from_text, to_text
from ml.errors import ArtifactError
from ml.frame import Array, Floats, as_text
from ml.linear import predict, softmax_fit
from ml.metrics import macro_f1
from ml.reading import WIDTH, Reading
from ml.splits import fold_of

Aim = Literal["macro_f1", "accuracy"]

FOLDS = 4
PENALTY = 1.0
STEPS = 60
TREES = 120
MOST_PAIRED = 6  # labels: the leads of more would drown the shape
NEAR_ZERO = 5.0  # prior precision of temperature's logarithm and offsets: trees are nearly calibrated
OFFSET_STEP, OFFSET_REACH = 0.1, 1.5  # of the search for naming offsets, in log odds
SMALLEST = 1e-7
PARAMETERS: dict[str, Any] = {
    "objective": "multiclass",
    "learning_rate": 0.05,
    "num_leaves": 7,
    "feature_fraction": 0.5,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 2.0,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


@dataclass(frozen=True)
class Layers:
    """What is fitted on enough requests.

    Args:
        reading: the encoding.
        weights: of the softmax, shape (s + 1, K).
        trees: on margins and shape.
        temperature: factor on the trees' log probabilities.
        offsets: added to them, shape (K,): with `temperature` they make the probabilities hold.
    """

    reading: Reading
    weights: Floats
    trees: lgb.Booster
    temperature: float
    offsets: Floats

    def columns(self, texts: Sequence[str]) -> Floats:
        """Give what the trees see, shape (n, margins + f)."""
        measured = wording.shape(texts)
        return _columns(predict(self.reading.columns(texts, measured), self.weights), measured)

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Give calibrated P(label), shape (n, K)."""
        logs = _logs(self.trees, self.columns(texts))
        return np.asarray(softmax(self.temperature * logs + self.offsets, axis=1), dtype=np.float64)

    def parts(self, text: str, place: int) -> tuple[float, dict[str, float]]:
        """Split a label's log odds against the labels' mean: (base, by column's owner)."""
        columns = self.columns([text])
        found = np.asarray(self.trees.predict(columns.astype(np.float32), pred_contrib=True, num_threads=1))
        split = found.reshape(len(self.offsets), columns.shape[1] + 1)
        told = (split[place] - split.mean(axis=0)) * self.temperature
        base = float(told[-1] + self.offsets[place] - self.offsets.mean())
        return base, _by_owner(told[:-1], len(self.offsets))

    def importances(self) -> dict[str, float]:
        """Give each owner's share of the trees' gain, largest first."""
        found = _by_owner(self.trees.feature_importance("gain"), len(self.offsets))
        total = sum(found.values()) or 1.0
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        return {name: gain / total for name, gain in ordered}

    def to_json(self) -> dict[str, Any]:
        """Write the layers as JSON."""
        return {
            "reading": self.reading.to_json(),
            "weights": artifact.pack(self.weights),
            "trees": to_text(self.trees),
            "temperature": self.temperature,
            "offsets": artifact.pack(self.offsets),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Layers:
        """Read what `to_json` wrote."""
        layers = cls(
            Reading.from_json(value["reading"]),
            artifact.unpack(value["weights"]),
            from_text(value["trees"]),
            float(value["temperature"]),
            artifact.unpack(value["offsets"]),
        )
        if layers.weights.shape != (WIDTH + 1, len(layers.offsets)):
            raise ArtifactError(f"weights of shape {layers.weights.shape} do not fit {len(layers.offsets)} labels")
        return layers


def fit_layers(texts: Sequence[str], place: Array, count: int, *, threads: int, seed: int) -> tuple[Layers, Floats]:
    """Fit both layers; what the second one and the calibration see comes from fits without those requests.

    Args:
        texts: the requests.
        place: shape (n,), each one's label, 0..count-1.
        count: K.
        threads: of the trees.
        seed: of folds and trees.

    Returns:
        The layers, and calibrated probabilities of requests that the parts had not seen, shape (n, K).
    """
    reading = Reading.fit(texts)
    measured = wording.shape(texts)
    matrix = reading.columns(texts, measured)
    fold = fold_of(np.unique(as_text(texts).astype(str), return_inverse=True)[1].astype(np.int64), FOLDS, seed)
    margins, logs = np.zeros((len(texts), count)), np.zeros((len(texts), count))
    for number in range(FOLDS):
        inside, aside = fold != number, fold == number
        margins[aside] = predict(matrix[aside], _softmax(matrix[inside], place[inside], count))
    columns = _columns(margins, measured)
    for number in range(FOLDS):
        inside, aside = fold != number, fold == number
        logs[aside] = _logs(_grow(columns[inside], place[inside], count, threads, seed), columns[aside])
    temperature, offsets = _calibrate(logs, place)
    trees = _grow(columns, place, count, threads, seed)
    layers = Layers(reading, _softmax(matrix, place, count), trees, temperature, offsets)
    return layers, np.asarray(softmax(temperature * logs + offsets, axis=1), dtype=np.float64)


def _softmax(matrix: sp.csr_matrix, place: Array, classes: int) -> Floats:
    return softmax_fit(matrix, place, classes, PENALTY, np.ones(len(place)), steps=STEPS)


def _columns(margins: Floats, measured: Floats) -> Floats:
    """Give the trees each label's margin over the mean, the lead of every pair of labels, and the shape."""
    centred = margins - margins.mean(axis=1, keepdims=True)
    count = margins.shape[1]
    near = [(a, b) for a, b in itertools.combinations(range(count), 2) if count <= MOST_PAIRED]
    leads = [centred[:, b] - centred[:, a] for a, b in near]
    return np.column_stack([centred, *leads, measured])


def _by_owner(values: Floats, count: int) -> dict[str, float]:
    leads = count * (count - 1) // 2 if count <= MOST_PAIRED else 0
    found: dict[str, float] = {}
    for owner, value in zip(["(words)"] * (count + leads) + list(wording.NAMES), values, strict=True):
        found[owner] = found.get(owner, 0.0) + float(value)
    return found


def _grow(columns: Floats, place: Array, classes: int, threads: int, seed: int) -> lgb.Booster:
    least = int(np.clip(len(place) // 200, 5, 20))
    own = {"num_class": classes, "num_threads": threads, "seed": seed, "min_data_in_leaf": least}
    parameters = {**PARAMETERS, **own}
    data = lgb.Dataset(columns.astype(np.float32), place, params=parameters, free_raw_data=True)
    return lgb.train(parameters, data, TREES)


def _logs(trees: lgb.Booster, columns: Floats) -> Floats:
    raw = np.asarray(trees.predict(columns.astype(np.float32), raw_score=True, num_threads=1))
    return np.asarray(log_softmax(raw, axis=1), dtype=np.float64)


def _calibrate(logs: Floats, place: Array) -> tuple[float, Floats]:
    """Fit one temperature and an offset a label, held near 1 and 0 as the trees are nearly calibrated."""
    rows, count = logs.shape

    def loss(flat: Floats) -> float:
        shares = log_softmax(np.exp(flat[0]) * logs + flat[1:], axis=1)
        return -float(shares[np.arange(rows), place].sum()) + NEAR_ZERO * float((flat**2).sum())

    found = minimize(loss, np.zeros(count + 1), method="L-BFGS-B")
    return float(np.exp(found.x[0])), np.asarray(found.x[1:], dtype=np.float64)


def naming_offsets(shares: Floats, place: Array, aim: Aim) -> Floats:
    """Find the offsets that serve the aim best on requests not seen, one label after another."""
    count = shares.shape[1]
    naming = np.zeros(count)
    if aim == "accuracy":
        return naming
    logs = np.log(shares + SMALLEST)
    steps = np.arange(-OFFSET_REACH, OFFSET_REACH + OFFSET_STEP / 2, OFFSET_STEP)
    best = macro_f1(place, logs.argmax(axis=1))
    for _, label in itertools.product(range(3), range(count)):
        for step in steps:
            tried = naming.copy()
            tried[label] = step
            value = macro_f1(place, (logs + tried).argmax(axis=1))
            if value > best + SMALLEST:
                best, naming = value, tried
    return naming
