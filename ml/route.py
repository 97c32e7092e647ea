"""Which model should answer: the cheapest one whose expected loss of quality against the strongest is small enough.

Symbols: loss = how much less often the weaker model does well than the stronger one, -1..1; below 0 it does better.

It may only move a request *down*, on evidence: with fewer than FEWEST judged outcomes of two models, or FEWEST_EACH of
either, or where the upper bound of the loss is above what is allowed, the strongest candidate answers. Two readings of
"allowed" are offered. `per="request"`: this prompt's own loss, its upper bound included, is within it. `per="traffic"`:
the quality lost over *all* requests together is within it; that moves more, because prompts on which little is lost pay
for others, and one bound on a mean is tighter than one on every prompt. Where it is known what answers cost, those move
first on which a dollar saved costs least quality (`ml/route_pair.py`, `ml/costs.py`).
"""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from threadpoolctl import threadpool_limits

from ml import artifact
from ml.card import Card, Verdict
from ml.costs import Costs, saved_unseen
from ml.errors import ArtifactError, RowsError
from ml.frame import Array, Floats
from ml.gain import Evidence
from ml.gain_parts import Judged, Texts
from ml.metrics import calibration_bins, interval, recovered_gap
from ml.preference import Explanation
from ml.route_pair import CERTAINTY, FAMILIAR, FEWEST, FEWEST_EACH, Pair, rates, savings

Per = Literal["request", "traffic"]

MAX_LOSS = 0.02
HOLDOUT_SHARE = 0.03  # of requests that go to the strongest all the same, so that the loss is measured


@dataclass(frozen=True)
class Loss:
    """What using the weaker model is expected to cost in quality.

    Args:
        mean: expected; the overall difference where there is too little evidence for more.
        upper: bound; 1 where there is too little evidence.
        familiar: probability that the prompt is like those learned from.
        judged: outcomes behind it.
        reason: why it refuses to speak, or "".
        saving: dollars that the weaker model saves on it, as a multiple of the usual; 1 where dollars are unknown.
    """

    mean: float
    upper: float
    familiar: float
    judged: int
    reason: str = ""
    saving: float = 1.0

    @property
    def rate(self) -> float:
        """What is lost for the dollars that are usually saved: the least moves first."""
        return float(rates(np.array([self.mean]), np.array([self.saving]))[0])

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
class RouteScorer:
    """Fitted losses between models.

    Args:
        models: weakest first.
        pairs: by (weaker, stronger).
        card: facts.
        costs: of answers; None where no dollars were learned from.
    """

    models: tuple[str, ...]
    pairs: dict[tuple[str, str], Pair]
    card: Card
    costs: Costs | None = None

    @classmethod
    def fit(  # noqa: PLR0913 - what is known of a prompt, each by its name
        cls,
        prompts: Sequence[str],
        outcomes: Sequence[Mapping[str, float]],
        *,
        models: Sequence[str],
        dollars: Sequence[Mapping[str, float]] | None = None,
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
            dollars: of each prompt, model to what its answer cost, whether that was judged or only served; without
                them, or with too few, all requests count as saving alike.
            weights: of the prompts, positive; to undo a choice of models that was not by chance.
            threads: of trees; the result does not depend on it.
            seed: of folds, topics and trees.

        Raises:
            RowsError: no prompts, numbers that do not fit, an outcome outside 0..1, dollars below 0.
        """
        good = _table(prompts, outcomes, models)
        paid = np.full_like(good, np.nan) if dollars is None else _paid(dollars, len(prompts), models)
        weight = _weights(weights, len(prompts))
        texts = Texts.of(prompts)
        pairs: dict[tuple[str, str], Pair] = {}
        facts: dict[tuple[str, str], Evidence] = {}
        # Small matrices gain nothing from more threads, which wait for each other on a busy machine.
        with threadpool_limits(1, "blas"):
            for low, high in itertools.combinations(range(len(models)), 2):
                both = np.column_stack([good[:, low], good[:, high]])
                rows = np.flatnonzero(~np.isnan(both).all(axis=1))
                judged = Judged(texts.take(rows), both[rows], weight[rows])
                key = (models[low], models[high])
                saved_usd = saved_unseen(texts.shape, paid[:, [low, high]], seed)
                saved_usd = None if saved_usd is None else saved_usd[rows]
                pairs[key], evidence = Pair.fit(judged, saved_usd, threads=threads, seed=seed)
                if evidence is not None:
                    facts[key] = evidence
            costs = Costs.fit(texts.shape, paid, models)
        return cls(tuple(models), pairs, _card(prompts, good, facts), costs if costs.models else None)

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
        texts = Texts.of(prompts)
        mean, error, familiar = pair.gain.expect(texts)
        upper = np.minimum(1.0, mean + CERTAINTY * error)
        saved_usd = None if self.costs is None else self.costs.saved(texts.shape, weaker, stronger)
        told = np.column_stack([mean, upper, familiar, savings(saved_usd, pair.usual_usd, len(mean))])
        return [Loss(m, u, k, total, saving=saving) for m, u, k, saving in told.tolist()]

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
        alone = per == "request" or loss.familiar < FAMILIAR
        # What is strange is not in the bound of all traffic: it may lose nothing, unless everything may be lost.
        most = 0.0 if alone and per == "traffic" and max_loss < 1 else max_loss
        if loss.upper <= most:
            return ""
        if alone:
            return f"{key[0]} may lose up to {loss.upper:.3f} on it, allowed is {most:.3f}"
        allowed = self.pairs[key].allowed(max_loss, loss.saving)
        if loss.mean <= allowed:
            return ""
        bound = f"for what it saves, up to {allowed:.3f} keeps all traffic within bounds"
        return f"{key[0]} is expected to lose {loss.mean:.3f} on it; {bound}"

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
        pairs = [
            {"weaker": weaker, "stronger": stronger} | pair.to_json()
            for (weaker, stronger), pair in sorted(self.pairs.items())
        ]
        costs = None if self.costs is None else self.costs.to_json()
        body = {"models": list(self.models), "pairs": pairs, "costs": costs}
        artifact.write(path, {"kind": "route", "card": self.card.to_json(), "body": body})

    @classmethod
    def load(cls, path: str | Path) -> RouteScorer:
        """Read what `save` wrote.

        Raises:
            ArtifactError: missing, broken, or another kind of scorer.
        """
        return cls.from_content(artifact.read_kind(path, "route"))

    @classmethod
    def from_content(cls, content: dict[str, Any]) -> RouteScorer:
        """Rebuild a scorer from what an artifact holds; one from before dollars were learned serves as it did."""
        try:
            body = content["body"]
            pairs = {(str(pair["weaker"]), str(pair["stronger"])): Pair.from_json(pair) for pair in body["pairs"]}
            costs = None if body.get("costs") is None else Costs.from_json(body["costs"])
            return cls(tuple(map(str, body["models"])), pairs, Card.from_json(content["card"]), costs)
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


def _paid(dollars: Sequence[Mapping[str, float]], rows: int, models: Sequence[str]) -> Floats:
    if len(dollars) != rows:
        raise RowsError(f"dollars of {len(dollars)} prompts for {rows}: give one mapping a prompt")
    paid = np.array([[float(row.get(model, np.nan)) for model in models] for row in dollars]).reshape(-1, len(models))
    if np.any((paid < 0) | np.isinf(paid)):
        raise RowsError("every answer's dollars must be 0 or more")
    return paid


def _weights(weights: Sequence[float] | None, rows: int) -> Floats:
    if weights is None:
        return np.ones(rows)
    found = np.asarray(weights, dtype=np.float64)
    if found.shape != (rows,) or not np.all(found > 0):
        raise RowsError("give a positive weight for every prompt")
    return np.asarray(found / found.mean(), dtype=np.float64)


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
