"""Which model should answer: the cheapest one whose expected loss of quality against the strongest is small enough.

Symbols: loss = how much less often the weaker model does well than the stronger one, -1..1; below 0 it does better.

It may only move a request *down*, on evidence: with fewer than FEWEST judged outcomes of two models, or FEWEST_EACH of
either, or where the upper bound of the loss is above what is allowed, the strongest candidate answers. Two readings of
"allowed" are offered. `per="request"`: this prompt's own loss, its upper bound included, is within it. `per="traffic"`:
the quality lost over *all* requests together is within it; that moves more, because prompts on which little is lost pay
for others, and one bound on a mean is tighter than one on every prompt.
"""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ml import artifact
from ml.card import Card, Verdict
from ml.errors import ArtifactError, RowsError
from ml.frame import Array, Floats
from ml.gain import Evidence, Gain, fit_gain
from ml.gain_parts import Judged, Texts
from ml.metrics import calibration_bins, interval, recovered_gap
from ml.preference import Explanation

Per = Literal["request", "traffic"]

FEWEST = 300  # judged outcomes of two models together
FEWEST_EACH = 60  # of either: a comparison is as good as its rarer side
MAX_LOSS = 0.02
HOLDOUT_SHARE = 0.03  # of requests that go to the strongest all the same, so that the loss is measured
CERTAINTY = 1.28  # standard errors: nine upper bounds in ten hold
FAMILIAR = 0.5  # a prompt less familiar than this must be within bounds by itself
CUTS = 64  # places at which the loss of moving everything below is kept


@dataclass(frozen=True)
class Loss:
    """What using the weaker model is expected to cost in quality.

    Args:
        mean: expected; the overall difference where there is too little evidence for more.
        upper: bound; 1 where there is too little evidence.
        familiar: probability that the prompt is like those learned from.
        judged: outcomes behind it.
        reason: why it refuses to speak, or "".
    """

    mean: float
    upper: float
    familiar: float
    judged: int
    reason: str = ""

    def __iter__(self) -> Any:
        """Unpack as (mean, upper)."""
        return iter((self.mean, self.upper))


@dataclass(frozen=True)
class Choice:
    """Which model answers, and why.

    Args:
        model: its name.
        reason: one sentence for the receipt.
        saved: price of the strongest candidate less this one's.
        loss: of this one against the strongest; None where nothing was compared.
    """

    model: str
    reason: str
    saved: float
    loss: Loss | None = None


@dataclass(frozen=True)
class Pair:
    """What is known of two models.

    Args:
        judged: outcomes of the weaker and of the stronger one.
        difference: overall, strong less weak, each over its own prompts.
        gain: None with too few outcomes.
        cuts: shape (m, 2), rising: expected gain up to which all is moved, upper bound of the loss over all traffic.
    """

    judged: tuple[int, int]
    difference: float
    gain: Gain | None
    cuts: Floats = field(default_factory=lambda: np.zeros((0, 2)))

    def cut(self, max_loss: float) -> float:
        """Give the expected gain up to which requests may move down; -inf when none may."""
        within = self.cuts[self.cuts[:, 1] <= max_loss, 0]
        return float(within.max()) if len(within) else -np.inf


@dataclass(frozen=True)
class RouteScorer:
    """Fitted losses between models.

    Args:
        models: weakest first.
        pairs: by (weaker, stronger).
        card: facts.
    """

    models: tuple[str, ...]
    pairs: dict[tuple[str, str], Pair]
    card: Card

    @classmethod
    def fit(
        cls,
        prompts: Sequence[str],
        outcomes: Sequence[Mapping[str, float]],
        *,
        models: Sequence[str],
        weights: Sequence[float] | None = None,
        threads: int = 1,
        seed: int = 0,
    ) -> RouteScorer:
        """Learn from judged answers.

        Args:
            prompts: the requests.
            outcomes: of each, model to how well it did, 0..1; usually of the one model that served. Others than
                `models` are left out.
            models: weakest first.
            weights: of the prompts, positive; to undo a choice of models that was not by chance.
            threads: of trees; the result does not depend on it.
            seed: of folds, topics and trees.

        Raises:
            RowsError: no prompts, numbers that do not fit, an outcome outside 0..1.
        """
        good = _table(prompts, outcomes, models)
        weight = _weights(weights, len(prompts))
        texts = Texts.of(prompts)
        pairs: dict[tuple[str, str], Pair] = {}
        facts: dict[tuple[str, str], Evidence] = {}
        for low, high in itertools.combinations(range(len(models)), 2):
            both = np.column_stack([good[:, low], good[:, high]])
            rows = np.flatnonzero(~np.isnan(both).all(axis=1))
            judged = Judged(texts.take(rows), both[rows], weight[rows])
            key = (models[low], models[high])
            pairs[key], evidence = _fit_pair(judged, threads, seed)
            if evidence is not None:
                facts[key] = evidence
        return cls(tuple(models), pairs, _card(prompts, good, facts))

    def expected_loss(self, prompt: str, weaker: str, stronger: str) -> Loss:
        """Give what the weaker model is expected to lose on a prompt; unpacks as (mean, upper)."""
        return self.expected_losses([prompt], weaker, stronger)[0]

    def expected_losses(self, prompts: Sequence[str], weaker: str, stronger: str) -> list[Loss]:
        """Give the losses of many prompts at once, in their order."""
        pair = self.pairs.get((weaker, stronger))
        if pair is None:
            reason = f"insufficient evidence: {weaker} and {stronger} were never compared"
            return [Loss(1.0, 1.0, 0.0, 0, reason)] * len(prompts)
        total = sum(pair.judged)
        if pair.gain is None:
            reason = (
                f"insufficient evidence: {pair.judged[0]} judged outcomes of {weaker} and {pair.judged[1]} of"
                f" {stronger}, needed are {FEWEST} together and {FEWEST_EACH} each"
            )
            return [Loss(pair.difference, 1.0, 0.0, total, reason)] * len(prompts)
        mean, error, familiar = pair.gain.expect(Texts.of(prompts))
        upper = np.minimum(1.0, mean + CERTAINTY * error)
        return [Loss(float(m), float(u), float(k), total) for m, u, k in zip(mean, upper, familiar, strict=True)]

    def choose(
        self,
        prompt: str,
        candidates: Sequence[tuple[str, float]],
        max_loss: float = MAX_LOSS,
        *,
        per: Per = "request",
    ) -> Choice:
        """Choose the cheapest candidate that is good enough.

        Args:
            prompt: the request.
            candidates: (model, price of answering), cheapest first; the last is the strongest and always allowed.
            max_loss: of quality against the strongest, 0..1.
            per: what `max_loss` bounds: each request's loss, or that over all traffic.

        Raises:
            RowsError: no candidates.
        """
        if not candidates:
            raise RowsError("there is no model to choose")
        strongest, dearest = candidates[-1]
        refusal = "there is no cheaper candidate"
        for model, price in candidates[:-1]:
            loss = self.expected_loss(prompt, model, strongest)
            refusal = self.refusal(loss, (model, strongest), max_loss, per)
            if not refusal:
                reason = (
                    f"{model} is expected to lose {loss.mean:.3f} (at most {loss.upper:.3f}) against {strongest}, by"
                    f" {loss.judged} judged outcomes"
                )
                return Choice(model, reason, dearest - price, loss)
        return Choice(strongest, f"{strongest}: {refusal}", 0.0)

    def refusal(self, loss: Loss, key: tuple[str, str], max_loss: float, per: Per) -> str:
        """Say why the weaker of two models may not take a prompt of this loss; "" when it may."""
        if loss.reason:
            return loss.reason
        if loss.upper <= max_loss:
            return ""
        if per == "request" or loss.familiar < FAMILIAR:
            return f"{key[0]} may lose up to {loss.upper:.3f} on it, allowed is {max_loss:.3f}"
        cut = self.pairs[key].cut(max_loss)
        if loss.mean <= cut:
            return ""
        return f"{key[0]} is expected to lose {loss.mean:.3f} on it; up to {cut:.3f} keeps all traffic within bounds"

    def explain(self, prompt: str, weaker: str, stronger: str) -> Explanation:
        """Split the expected loss by what guesses it; unlike a preference's, the sum is the loss itself, no log odds.

        Raises:
            RowsError: there is too little evidence to explain.
        """
        pair = self.pairs.get((weaker, stronger))
        if pair is None or pair.gain is None:
            raise RowsError(f"there is too little evidence on {weaker} and {stronger} to explain anything")
        base, parts = pair.gain.explain(Texts.of([prompt]))
        ordered = sorted(parts.items(), key=lambda item: (-abs(item[1]), item[0]))
        return Explanation(base, tuple(ordered), base + sum(parts.values()))

    def save(self, path: str | Path) -> None:
        """Write the scorer and its card as text."""
        pairs = [_pair_to_json(key, pair) for key, pair in sorted(self.pairs.items())]
        body = {"models": list(self.models), "pairs": pairs}
        artifact.write(path, {"kind": "route", "card": self.card.to_json(), "body": body})

    @classmethod
    def load(cls, path: str | Path) -> RouteScorer:
        """Read what `save` wrote.

        Raises:
            ArtifactError: missing, broken, or another kind of scorer.
        """
        content = artifact.read(path)
        if content.get("kind") != "route":
            raise ArtifactError(f"{Path(path).name} holds a scorer of kind {content.get('kind')!r}, not a route")
        return cls.from_content(content)

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> RouteScorer:
        """Rebuild a scorer from what an artifact holds."""
        try:
            body = content["body"]
            pairs = dict(_pair_from_json(pair) for pair in body["pairs"])
            return cls(tuple(map(str, body["models"])), pairs, Card.from_json(content["card"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"the scorer's content is not what its kind needs: {error!r}") from error


def is_held_out(key: str, share: float = HOLDOUT_SHARE) -> bool:
    """Tell whether a request goes to the strongest model whatever the scorer says; by its key, so a retry does too."""
    return zlib.crc32(key.encode("utf-8", "surrogatepass")) % 1_000_000 < share * 1_000_000


def _table(prompts: Sequence[str], outcomes: Sequence[Mapping[str, float]], models: Sequence[str]) -> Floats:
    if len(prompts) == 0 or len(prompts) != len(outcomes):
        raise RowsError(f"{len(outcomes)} outcomes for {len(prompts)} prompts: give one mapping a prompt, at least one")
    if len(set(models)) != len(models):
        raise RowsError(f"the models {list(models)} are not all different")
    good = np.array([[float(row.get(model, np.nan)) for model in models] for row in outcomes]).reshape(-1, len(models))
    if np.any((good < 0) | (good > 1)):
        raise RowsError("every outcome must be within 0..1")
    return good


def _weights(weights: Sequence[float] | None, rows: int) -> Floats:
    if weights is None:
        return np.ones(rows)
    found = np.asarray(weights, dtype=np.float64)
    if found.shape != (rows,) or not np.all(found > 0):
        raise RowsError("give a positive weight for every prompt")
    return np.asarray(found / found.mean(), dtype=np.float64)


def _fit_pair(judged: Judged, threads: int, seed: int) -> tuple[Pair, Evidence | None]:
    known = judged.known
    counts = (int(known[:, 0].sum()), int(known[:, 1].sum()))
    means = (known * judged.weight[:, None] * np.nan_to_num(judged.good)).sum(axis=0) / np.maximum(
        (known * judged.weight[:, None]).sum(axis=0), 1e-9
    )
    difference = float(means[1] - means[0]) if min(counts) else 1.0
    if sum(counts) < FEWEST or min(counts) < FEWEST_EACH:
        return Pair(counts, difference, None), None
    gain, evidence = fit_gain(judged, threads=threads, seed=seed)
    return Pair(counts, difference, gain, _cuts(evidence)), evidence


def _cuts(evidence: Evidence) -> Floats:
    """Bound what is lost over all traffic when everything below an expected gain moves down."""
    order = np.argsort(evidence.expected, kind="stable")
    share = evidence.weight[order] / evidence.weight.sum()
    lost = evidence.gains[order]
    mean = np.cumsum(share * lost)
    error = np.sqrt(np.maximum(0.0, np.cumsum(share**2 * lost**2) - mean**2 / len(order)))
    upper = np.maximum.accumulate(mean + CERTAINTY * error + 1.0 / len(order))  # as if one more were lost than was seen
    expected = evidence.expected[order]
    ends = np.flatnonzero(np.append(np.diff(expected) > 0, True))
    places = ends[np.unique(np.linspace(0, len(ends) - 1, CUTS).astype(int))]
    return np.column_stack([expected[places], upper[places]])


def _card(prompts: Sequence[str], good: Floats, facts: dict[tuple[str, str], Evidence]) -> Card:
    digest = hashlib.blake2b("\x1f".join(prompts).encode("utf-8", "surrogatepass"), digest_size=16)
    digest.update(np.ascontiguousarray(np.nan_to_num(good, nan=-1.0), dtype="<f8").tobytes())
    card = Card(
        kind="route",
        method="boosted" if facts else "smoothed_rates",
        rows=int((~np.isnan(good)).sum()),
        positives=int(np.nansum(good)),
        persons=0,
        window=("", ""),
        split="random",
        held_out=max((len(evidence.gains) for evidence in facts.values()), default=0),
        data_hash=digest.hexdigest(),
        feature_set=f"texts {good.shape[1]} models",
    )
    if not facts:
        return replace(
            card, verdict=Verdict(promote=False, reason=f"fewer than {FEWEST} judged outcomes of any two models")
        )
    return replace(card, **_measured(facts))


def _measured(facts: dict[tuple[str, str], Evidence]) -> dict[str, Any]:
    """Say how the losses held on prompts that were not seen; the verdict is of the pair with most evidence."""
    metrics: dict[str, float] = {}
    for (weaker, stronger), evidence in facts.items():
        better, plain = _errors(evidence)
        name = f"{weaker} -> {stronger}"
        metrics[f"{name} apgr"] = recovered_gap(np.zeros(len(plain)), evidence.gains, evidence.expected)
        metrics[f"{name} squared_error"], metrics[f"{name} baseline_squared_error"] = (
            float(better.mean()),
            float(plain.mean()),
        )
    widest = max(facts.values(), key=lambda evidence: len(evidence.gains))
    better, plain = _errors(widest)
    difference = better - plain
    low, high = interval(difference, np.arange(len(difference)))
    reason = f"squared error {difference.mean():+.4f} (95 %: {low:+.4f} to {high:+.4f}) against one loss for all"
    verdict = Verdict(promote=high < 0, reason=reason, difference=float(difference.mean()), interval=(low, high))
    return {
        "metrics": metrics,
        "calibration": calibration_bins(widest.gains, widest.expected),
        "verdict": verdict,
    }


def _errors(evidence: Evidence) -> tuple[Array, Array]:
    share = evidence.weight / evidence.weight.mean()
    level = float((share * evidence.gains).mean())
    return share * (evidence.gains - evidence.expected) ** 2, share * (evidence.gains - level) ** 2


def _pair_to_json(key: tuple[str, str], pair: Pair) -> dict[str, Any]:
    return {
        "weaker": key[0],
        "stronger": key[1],
        "judged": list(pair.judged),
        "difference": pair.difference,
        "gain": None if pair.gain is None else pair.gain.to_json(),
        "cuts": pair.cuts.tolist(),
    }


def _pair_from_json(value: dict[str, Any]) -> tuple[tuple[str, str], Pair]:
    weak, strong = value["judged"]
    gain = None if value["gain"] is None else Gain.from_json(value["gain"])
    cuts = np.array(value["cuts"], dtype=np.float64).reshape(-1, 2)
    pair = Pair((int(weak), int(strong)), float(value["difference"]), gain, cuts)
    return (str(value["weaker"]), str(value["stronger"])), pair
