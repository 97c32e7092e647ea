"""How much better the stronger of two models would do on a prompt, and how sure that is.

Symbols: n prompts · g = y_s - y_w, the gain, or what stands in for it (`ml/gain_parts.py`).

The parts are blended twice: for prompts like those judged (familiar) by how they did on prompts kept aside by chance;
for strangers by fixed shares, because a dozen topics cannot tell which part travels: learned from them, the shares did
worse on all of three sets. How familiar a prompt's words and themes are decides which blend is believed. Each blend
knows its level and its error along its values from prompts it had not seen: by prompt for the familiar, by whole topics
kept aside for strangers, who err together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize, nnls
from scipy.special import expit

from ml import artifact
from ml.booster import from_text, to_text
from ml.frame import Floats, Ints
from ml.gain_parts import (
    FOLDS,
    PHRASE_BUCKETS,
    THEMES,
    Judged,
    Parts,
    Scales,
    Surface,
    Targets,
    Texts,
    directions,
    fit_parts,
    main_axes,
    pseudo_gains,
)

TOPICS = 12  # found among the prompts, dealt to FOLDS folds of strangers
TOPIC_ROUNDS = 25
HELD = 400.0  # rows' worth of belief that all parts count alike: gains are mostly noise, and so are slopes along them
LEAST_SLOPE = 0.25  # of it: an order is kept even where chance hides it; the bounds say what it is worth
FROM_THEMES = 2 / 3  # of what is believed of a stranger; the rest is said by the last part, which knows the shape
PART_NAMES = ("themes", "words", "words and shape in trees")  # as `Parts.predict` gives them


@dataclass(frozen=True)
class Blend:
    """One way of weighing the parts, with what is known of its error.

    Args:
        base: intercept.
        weights: of the parts, none negative.
        centre: weighted mean of its values on prompts it had not seen.
        covariance: shape (2, 2), of level and slope of the gain along its values: robust, by topic for strangers.
    """

    base: float
    weights: Floats
    centre: float
    covariance: Floats

    @classmethod
    def fit(cls, parts: Floats, gains: Floats, weight: Floats, group: Ints) -> Blend:
        """Weigh the parts by non-negative least squares, held towards all counting alike.

        Args:
            parts: what each said of prompts it had not seen, shape (n, parts).
            gains: pseudo gains, shape (n,).
            weight: of each prompt.
            group: prompts that err together, shape (n,).
        """
        total = float(weight.sum())
        middle = (weight[:, None] * parts).sum(axis=0) / total
        level = float((weight * gains).sum() / total)
        root = np.sqrt(weight)[:, None]
        spring = np.sqrt(HELD * total / len(weight)) * (parts - middle).std(axis=0).mean() * np.eye(parts.shape[1])
        alike = np.full(parts.shape[1], 1.0 / parts.shape[1])
        left = np.vstack([root * (parts - middle), spring])
        right = np.concatenate([root[:, 0] * (gains - level), spring @ alike])
        weights, _ = nnls(left, right)
        found = float(weights.sum())
        weights = weights * max(found, LEAST_SLOPE) / found if found > 0 else alike * LEAST_SLOPE
        return cls.fixed(weights, parts, gains, weight, group)

    @classmethod
    def fixed(cls, weights: Floats, parts: Floats, gains: Floats, weight: Floats, group: Ints) -> Blend:
        """Find the level and the error of parts weighed beforehand; the arguments are as for `fit`."""
        total = float(weight.sum())
        base = float((weight * (gains - parts @ weights)).sum() / total)
        values = base + parts @ weights
        centre = float((weight * values).sum() / total)
        return cls(base, weights, centre, _covariance(values - centre, gains - values, weight, group))

    def values(self, parts: Floats) -> Floats:
        """Give the expected gain, shape (n,)."""
        return np.asarray(self.base + parts @ self.weights, dtype=np.float64)

    def variance(self, values: Floats) -> Floats:
        """Give the squared standard error of the expected gain, shape (n,)."""
        along = np.column_stack([np.ones(len(values)), values - self.centre])
        return np.asarray(np.einsum("ni,ij,nj->n", along, self.covariance, along), dtype=np.float64)


def _covariance(values: Floats, errors: Floats, weight: Floats, group: Ints) -> Floats:
    """Give the sandwich covariance of level and slope of errors along values, whole groups being one draw."""
    along = np.column_stack([np.ones(len(values)), values])
    bread = np.linalg.inv((along * weight[:, None]).T @ along + 1e-3 * np.eye(2))
    pulls = along * (weight * errors)[:, None]
    count = int(group.max()) + 1
    summed = np.column_stack([np.bincount(group, weights=pulls[:, j], minlength=count) for j in range(2)])
    used = max(2, len(np.unique(group)))
    return np.asarray(bread @ (summed.T @ summed) @ bread * used / (used - 1), dtype=np.float64)


@dataclass(frozen=True)
class Gain:
    """A fitted gain of one model over another.

    Args:
        parts: what guesses.
        familiar: the blend for prompts like those learned from.
        strange: the blend for others.
        counts: shape (PHRASE_BUCKETS,), 1 where a phrase was seen at least twice.
        gate: level of the log odds that a prompt is familiar, and slopes along what `_familiar_by` tells.
    """

    parts: Parts
    familiar: Blend
    strange: Blend
    counts: Floats
    gate: Floats

    def expect(self, texts: Texts) -> tuple[Floats, Floats, Floats]:
        """Give each prompt's (expected gain, standard error, probability of being familiar), each shape (n,)."""
        parts = self.parts.predict(texts)
        known = self._known(texts)
        near, far = self.familiar.values(parts), self.strange.values(parts)
        mean = known * near + (1 - known) * far
        variance = known * self.familiar.variance(near) + (1 - known) * self.strange.variance(far)
        variance += known * (1 - known) * (near - far) ** 2
        return mean, np.sqrt(variance), known

    def explain(self, texts: Texts) -> tuple[float, dict[str, float]]:
        """Split the first prompt's expected gain: (base, what each part adds)."""
        told = self.parts.predict(texts)[0]
        known = float(self._known(texts)[0])
        base = known * self.familiar.base + (1 - known) * self.strange.base
        weights = known * self.familiar.weights + (1 - known) * self.strange.weights
        return base, dict(zip(PART_NAMES, (weights * told).tolist(), strict=False))

    def _known(self, texts: Texts) -> Floats:
        return _through(self.gate, _familiar_by(texts, self.counts, self.parts.themes(texts)))

    def to_json(self) -> dict[str, Any]:
        """Write the gain as JSON."""
        scales, surface, trees = self.parts.scales, self.parts.surface, self.parts.trees
        return {
            "rarity": artifact.pack(scales.rarity),
            "mean": artifact.pack(scales.mean),
            "spread": artifact.pack(scales.spread),
            "axes": artifact.pack(self.parts.axes),
            "landmarks": artifact.pack(surface.landmarks),
            "pulls": artifact.pack(surface.pulls),
            "level": surface.level,
            "phrases": artifact.pack(self.parts.phrases),
            "trees": None if trees is None else to_text(trees),
            "blends": [_blend_to_json(blend) for blend in (self.familiar, self.strange)],
            "counts": np.packbits(self.counts.astype(bool)).tobytes().hex(),
            "gate": self.gate.tolist(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Gain:
        """Read what `to_json` wrote."""
        scales = Scales(*(artifact.unpack(value[name]) for name in ("rarity", "mean", "spread")))
        landmarks, pulls = (artifact.unpack(value[name]) for name in ("landmarks", "pulls"))
        surface = Surface(landmarks, pulls, float(value["level"]))
        trees = None if value["trees"] is None else from_text(value["trees"])
        parts = Parts(scales, artifact.unpack(value["axes"]), surface, artifact.unpack(value["phrases"]), trees)
        familiar, strange = (_blend_from_json(blend) for blend in value["blends"])
        bits = np.frombuffer(bytes.fromhex(value["counts"]), dtype=np.uint8)
        gate = np.array(value["gate"], dtype=np.float64)
        return cls(parts, familiar, strange, np.unpackbits(bits).astype(np.float64), gate)


def _blend_to_json(blend: Blend) -> dict[str, Any]:
    numbers = {"weights": blend.weights.tolist(), "covariance": blend.covariance.tolist()}
    return {"base": blend.base, "centre": blend.centre, **numbers}


def _blend_from_json(value: dict[str, Any]) -> Blend:
    return Blend(
        float(value["base"]),
        np.array(value["weights"], dtype=np.float64),
        float(value["centre"]),
        np.array(value["covariance"], dtype=np.float64),
    )


@dataclass(frozen=True)
class Evidence:
    """What a fitted gain says of prompts it had not seen, and what was true of them; each shape (n,).

    Args:
        expected: gain.
        gains: as judged, or what stands in for it.
        weight: of each prompt.
        familiar: probability that it is like the others, as it looked before it was seen.
    """

    expected: Floats
    gains: Floats
    weight: Floats
    familiar: Floats


def fit_gain(judged: Judged, *, threads: int = 1, seed: int = 0) -> tuple[Gain, Evidence]:
    """Fit the gain of the stronger model.

    Args:
        judged: prompts and how the two models did.
        threads: of the trees; the result does not depend on it.
        seed: of folds, topics and trees.
    """
    rng = np.random.default_rng(seed)
    fold = (rng.permutation(len(judged)) % FOLDS).astype(np.int64)
    gains, weight = pseudo_gains(judged, fold)
    targets = Targets(gains, weight, fold, threads, seed)
    parts, unseen = fit_parts(judged, targets)
    near = unseen.parts(targets)
    topic = topics(unseen.themes, rng)
    far, far_seen = _as_strangers(judged, Targets(gains, weight, _dealt(topic), threads, seed), near, rng)
    alone = np.arange(len(judged), dtype=np.int64)
    familiar = Blend.fit(near, gains, weight, alone)
    shares = np.zeros(far.shape[1])
    shares[0], shares[-1] = FROM_THEMES, 1.0 - FROM_THEMES
    strange = Blend.fixed(shares, far, gains, weight, topic)
    near_seen = _as_familiar(judged.texts, fold)
    gate = _gate(near_seen, far_seen)
    gain = Gain(parts, familiar, strange, seen_twice(judged.texts), gate)
    return gain, Evidence(familiar.values(near), gains, weight, _through(gate, near_seen))


def _as_familiar(texts: Texts, fold: Ints) -> Floats:
    """Give `_familiar_by` of prompts kept aside by chance, shape (n, 2)."""
    out = np.zeros((len(texts), 2))
    for number in range(FOLDS):
        some, aside = texts.take(fold != number), texts.take(fold == number)
        scales = Scales.fit(some)
        themes = np.asarray(scales.rare(aside) @ main_axes(scales.rare(some), THEMES))
        out[fold == number] = _familiar_by(aside, seen_twice(some), themes)
    return out


def _as_strangers(judged: Judged, targets: Targets, near: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Give what parts say that were fitted without a prompt's topics, and how familiar they found it."""
    told, seen = near.copy(), np.zeros((len(judged), 2))
    for number in range(FOLDS):
        inside, aside = np.flatnonzero(targets.fold != number), np.flatnonzero(targets.fold == number)
        if not len(aside) or len(inside) < len(judged) // 4:
            continue
        some, strangers = judged.take(inside), judged.texts.take(aside)
        again = (rng.permutation(len(inside)) % FOLDS).astype(np.int64)
        taught = Targets(targets.gains[inside], targets.weight[inside], again, targets.threads, targets.seed)
        parts = fit_parts(some, taught)[0]
        values = parts.predict(strangers)
        told[aside, : values.shape[1]] = values
        told[aside, values.shape[1] :] = values[:, -1:]  # what is left was too little for trees
        seen[aside] = _familiar_by(strangers, seen_twice(some.texts), parts.themes(strangers))
    return told, seen


def seen_twice(texts: Texts) -> Floats:
    """Mark phrases seen in at least two prompts, shape (PHRASE_BUCKETS,)."""
    return (np.bincount(texts.phrases.indices, minlength=PHRASE_BUCKETS) > 1).astype(np.float64)


def seen_share(texts: Texts, counts: Floats) -> Floats:
    """Give the share of each prompt's phrases that were seen, shape (n,)."""
    sizes = np.maximum(1, texts.phrases.getnnz(axis=1))
    return np.asarray(((texts.phrases > 0) @ counts) / sizes, dtype=np.float64)


def _familiar_by(texts: Texts, counts: Floats, themes: Floats) -> Floats:
    """Give the share of phrases seen and how much of each prompt lies along the themes: shape (n, 2).

    The share tells after few prompts; after thousands every place of a phrase is taken and only the themes still tell.
    """
    return np.column_stack([seen_share(texts, counts), np.linalg.norm(themes, axis=1)])


def _gate(near: Floats, far: Floats) -> Floats:
    """Learn how familiar a prompt is, from prompts kept aside by chance and with their topic: level and slopes."""
    signs = np.concatenate([near, far])
    truth = np.concatenate([np.ones(len(near)), np.zeros(len(far))])

    def loss(flat: Floats) -> float:
        odds = flat[0] + signs @ flat[1:]
        return float((np.logaddexp(0, odds) - truth * odds).sum() + 0.005 * (flat[1:] ** 2).sum())

    bounds = [(None, None), *[(0.0, None)] * signs.shape[1]]
    return np.asarray(minimize(loss, np.zeros(len(bounds)), method="L-BFGS-B", bounds=bounds).x, dtype=np.float64)


def _through(gate: Floats, signs: Floats) -> Floats:
    """Give the probability of being familiar, shape (n,), by what `_familiar_by` tells."""
    return np.asarray(expit(gate[0] + signs @ gate[1:]), dtype=np.float64)


def topics(themes: Floats, rng: np.random.Generator) -> Ints:
    """Group prompts by their themes: shape (n,), places of at most TOPICS groups (spherical k-means)."""
    places = directions(themes)
    centres = places[rng.choice(len(places), min(TOPICS, len(places)), replace=False)]
    group = np.zeros(len(places), dtype=np.int64)
    for _ in range(TOPIC_ROUNDS):
        group = (places @ centres.T).argmax(axis=1)
        summed = np.array([places[group == j].sum(axis=0) for j in range(len(centres))])
        length = np.linalg.norm(summed, axis=1, keepdims=True)
        centres = np.where(length > 0, summed / np.maximum(length, 1e-9), centres)
    return np.unique(group, return_inverse=True)[1].astype(np.int64)


def _dealt(topic: Ints) -> Ints:
    """Deal topics to folds, the largest first to the emptiest fold."""
    sizes = np.bincount(topic)
    fold_of_topic, load = np.zeros(len(sizes), dtype=np.int64), np.zeros(FOLDS)
    for place in np.argsort(-sizes, kind="stable"):
        emptiest = int(load.argmin())
        fold_of_topic[place] = emptiest
        load[emptiest] += sizes[place]
    return np.asarray(fold_of_topic[topic], dtype=np.int64)
