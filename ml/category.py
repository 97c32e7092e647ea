"""Which kind of request this is, without asking a model: calibrated, and silent where it is not sure.

Symbols: n requests · K labels · s sparse columns · margin = a linear model's utility of a label.

Two layers. A shrunken softmax reads hashed words, letters and pairs of common words; it knows much and guesses too
surely. Its margins on requests it has not seen, and the shape of the text, go to boosted trees, which learn how far the
words can be trusted for a text of this shape. One temperature and one offset a label, again from requests not seen,
make the probabilities hold. Which label is *named* may differ from the likeliest one: `aim="macro_f1"` gives rare
labels their due by offsets of its own.

Below FEWEST requests, or with a label that has fewer than FEWEST_EACH, only the labels' shares are known: nothing is
ever sure then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from ml import artifact, wording
from ml.card import Card, Verdict
from ml.category_layers import SMALLEST, Aim, Layers, fit_layers, naming_offsets
from ml.errors import ArtifactError, RowsError
from ml.frame import Array, Floats
from ml.metrics import calibration_bins, calibration_error, interval, macro_f1
from ml.preference import Explanation

FEWEST = 100  # requests: with fewer the words of one would decide
FEWEST_EACH = 10  # of every label, so that each fold has some
SURE = 0.9  # a calibrated probability below this is for a model, or for the safe side
MOST_SHOWN = 20


@dataclass(frozen=True)
class Guess:
    """One request's label.

    Args:
        label: the best one.
        probability: calibrated, of that label.
        sure: whether to act on it without asking anybody.
        reason: why not, or "".
    """

    label: str
    probability: float
    sure: bool
    reason: str = ""


@dataclass(frozen=True)
class Category:
    """A fitted scorer of a request's label.

    Args:
        names: the labels, sorted, shape (K,).
        shares: of the labels among the requests learned from, shape (K,).
        naming: added to log probabilities before the best label is named, shape (K,).
        layers: None while there is too little to learn from.
        card: facts.
    """

    names: tuple[str, ...]
    shares: Floats
    naming: Floats
    layers: Layers | None
    card: Card

    @classmethod
    def fit(
        cls, texts: Sequence[str], labels: Sequence[str], *, aim: Aim = "macro_f1", threads: int = 1, seed: int = 0
    ) -> Category:
        """Learn from requests whose label is known.

        Args:
            texts: the requests.
            labels: theirs; any names.
            aim: what naming a label serves; probabilities do not depend on it.
            threads: of the trees; the result does not depend on it.
            seed: of folds and trees.

        Raises:
            RowsError: no requests, an empty label, or numbers that do not fit.
        """
        names, place = _read(texts, labels)
        counts = np.bincount(place, minlength=len(names))
        plain = cls(names, counts / counts.sum(), np.zeros(len(names)), None, _card(texts, labels, names))
        least = int(counts.min())
        if len(texts) < FEWEST or least < FEWEST_EACH or len(names) == 1:
            reason = f"{len(texts)} requests, {least} of the rarest label: only the labels' shares are known"
            card = replace(plain.card, method="smoothed_rates", verdict=Verdict(promote=False, reason=reason))
            return replace(plain, card=card)
        with threadpool_limits(1, "blas"):  # small matrices gain nothing from more, see `ml/route.py`
            layers, unseen = fit_layers(texts, place, len(names), threads=threads, seed=seed)
            fitted = replace(plain, layers=layers, naming=naming_offsets(unseen, place, aim))
        return replace(fitted, card=_measured(fitted, unseen, place))

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Give calibrated P(label), shape (n, K), columns in the order of `names`."""
        if self.layers is None:
            return np.tile(self.shares, (len(texts), 1))
        return self.layers.probabilities(texts)

    def name(self, texts: Sequence[str]) -> list[str]:
        """Name each text's label, ties by spelling."""
        best = (np.log(self.probabilities(texts) + SMALLEST) + self.naming).argmax(axis=1)
        return [self.names[j] for j in best]

    def guess(self, text: str, *, sure: float = SURE) -> Guess:
        """Name one text's label and say whether to rely on it.

        Args:
            text: the request.
            sure: calibrated probability from which on nobody else need be asked.
        """
        shares = self.probabilities([text])[0]
        place = int(np.argmax(np.log(shares + SMALLEST) + self.naming))
        probability = float(shares[place])
        if self.layers is None:
            return Guess(self.names[place], probability, sure=False, reason="too few requests were learned from")
        familiarity = float(self.layers.reading.familiarity([text])[0])
        if familiarity < self.layers.reading.strange_below:
            reason = f"only {familiarity:.0%} of its words are familiar"
            return Guess(self.names[place], probability, sure=False, reason=reason)
        if probability < sure:
            reason = f"probability {probability:.2f} is below {sure:.2f}"
            return Guess(self.names[place], probability, sure=False, reason=reason)
        return Guess(self.names[place], probability, sure=True)

    def explain(self, text: str, label: str | None = None) -> Explanation:
        """Say what speaks for a label (the likeliest, when not given), in log odds against the labels' mean."""
        shares = self.probabilities([text])[0]
        place = int(shares.argmax()) if label is None else self._place(label)
        if self.layers is None:
            return Explanation(float(np.log(shares[place] + SMALLEST)), (), float(shares[place]))
        base, parts = self.layers.parts(text, place)
        ordered = sorted(((name, value) for name, value in parts.items() if value), key=lambda i: (-abs(i[1]), i[0]))
        return Explanation(base, tuple(ordered[:MOST_SHOWN]), float(shares[place]))

    def _place(self, label: str) -> int:
        if label not in self.names:
            raise RowsError(f"{label!r} is not among the labels {list(self.names)}")
        return self.names.index(label)

    def save(self, path: str | Path) -> None:
        """Write the scorer and its card as text."""
        body = {
            "names": list(self.names),
            "shares": artifact.pack(self.shares),
            "naming": artifact.pack(self.naming),
            "layers": None if self.layers is None else self.layers.to_json(),
        }
        artifact.write(path, {"kind": "category", "card": self.card.to_json(), "body": body})

    @classmethod
    def load(cls, path: str | Path) -> Category:
        """Read what `save` wrote.

        Raises:
            ArtifactError: missing, broken, or another kind of scorer.
        """
        return cls.from_content(artifact.read_kind(path, "category"))

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> Category:
        """Rebuild a scorer from what an artifact holds."""
        try:
            body = content["body"]
            names = tuple(map(str, body["names"]))
            card = Card.from_json(content["card"])
            shares, naming = artifact.unpack(body["shares"]), artifact.unpack(body["naming"])
            layers = None if body["layers"] is None else Layers.from_json(body["layers"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"the scorer's content is not what its kind needs: {error!r}") from error
        if layers is not None and len(layers.offsets) != len(names):
            raise ArtifactError(f"layers for {len(layers.offsets)} labels do not fit {len(names)} names")
        return cls(names, shares, naming, layers, card)


def _read(texts: Sequence[str], labels: Sequence[str]) -> tuple[tuple[str, ...], Array]:
    if len(texts) == 0:
        raise RowsError("there are no requests to learn from")
    if len(texts) != len(labels):
        raise RowsError(f"{len(labels)} labels for {len(texts)} requests")
    if any(not label for label in labels):
        raise RowsError(f"{sum(not label for label in labels)} requests have no label: leave them out")
    names, place = np.unique(np.array([str(label) for label in labels]), return_inverse=True)
    return tuple(str(name) for name in names), place


def _card(texts: Sequence[str], labels: Sequence[str], names: tuple[str, ...]) -> Card:
    digest = hashlib.blake2b("\x1f".join([*texts, *labels]).encode("utf-8", "surrogatepass"), digest_size=16)
    return Card(
        kind="category",
        method="boosted",
        rows=len(texts),
        positives=len(names),
        persons=0,
        window=("", ""),
        split="random",
        held_out=0,
        data_hash=digest.hexdigest(),
        feature_set=hashlib.blake2b("|".join(wording.NAMES).encode(), digest_size=8).hexdigest(),
    )


def _measured(fitted: Category, shares: Floats, place: Array) -> Card:
    """Put on the card how it does on requests that its parts had not seen."""
    rows = np.arange(len(place))
    likely = shares.argmax(axis=1)
    named = (np.log(shares + SMALLEST) + fitted.naming).argmax(axis=1)
    most = np.full(len(place), int(fitted.shares.argmax()))
    right = (likely == place).astype(np.float64)
    sure = shares[rows, named] >= SURE
    losses = -np.log(shares[rows, place] + SMALLEST)
    plain = -np.log(fitted.shares[place])
    metrics = {
        "accuracy": float(right.mean()),
        "macro_f1": macro_f1(place, named),
        "baseline_macro_f1": macro_f1(place, most),
        "log_loss": float(losses.mean()),
        "baseline_log_loss": float(plain.mean()),
        "calibration_error": calibration_error(right, shares.max(axis=1)),
        "sure_share": float(sure.mean()),
        "sure_accuracy": float((named == place)[sure].mean()) if sure.any() else 0.0,
    }
    gain = losses - plain
    importances = {} if fitted.layers is None else dict(list(fitted.layers.importances().items())[:MOST_SHOWN])
    low, high = interval(gain, rows)
    reason = f"log loss {gain.mean():+.3f} (95 %: {low:+.3f} to {high:+.3f}) against the labels' shares"
    return replace(
        fitted.card,
        held_out=len(place),
        metrics=metrics,
        importances=importances,
        calibration=calibration_bins(right, shares.max(axis=1)),
        verdict=Verdict(promote=high < 0, reason=reason, difference=float(gain.mean()), interval=(low, high)),
    )
