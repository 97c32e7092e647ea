"""What guesses a stronger model's gain on a prompt, each part as it can, and what they are taught.

Symbols: n prompts · s sparse columns · f shape columns · y_w, y_s whether the weaker and the stronger model did well,
0..1 · g = y_s - y_w, the gain · q a model's expected y.

Usually only the model that served was judged, so g is seen of few prompts or none. What stands in for it is the doubly
robust pseudo gain: q_s - q_w, corrected by the judged model's surprise over its share of the judgements. Its mean is
right if either q or the shares are; a prompt judged with both models simply has its g.

A smooth surface over *themes*, the main axes of the prompts' rarer words, travels best to strange prompts; a ridge on
words and neighbours knows familiar ones; with enough prompts come boosted trees on that ridge's margins and the text's
shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import scipy.sparse as sp

from ml import wording
from ml.frame import Array, Floats, Ints
from ml.linear import predict, ridge

WORD_BUCKETS, PHRASE_BUCKETS = 1 << 14, 1 << 15
CLIP = 3.0  # standard deviations at which the shape stops counting
FOLDS = 4
BOOST_FROM = 1_000  # prompts: with fewer, trees follow chance
THEMES = 40
LANDMARKS = 400  # prompts that the surface is hung on
KINSHIP = 1.0  # how fast it fades: exp(-KINSHIP d^2), d the distance between two directions, 0..2
SURFACE_PENALTY = 30.0  # rows' worth: with a gain's usual noise, a spread of about .1 between unlike prompts
JITTER = 1e-3  # of the penalty: landmarks may say the same
PHRASE_PENALTY = 20.0
FEW_PENALTY = 30.0  # of words, phrases and shape together while there are no trees
SHAPE_WEIGHT = 0.5  # of the shape beside hashed words
FEWEST_TO_COMPARE = 30  # prompts judged with both models, to know how much their gains vary
LEAST_SHARE = 0.05  # of the judgements: a rarer model's surprises would outweigh everything
TREES = 150
PARAMETERS: dict[str, Any] = {
    "objective": "regression",
    "learning_rate": 0.04,
    "num_leaves": 7,
    "min_data_in_leaf": 50,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "deterministic": True,
    "force_row_wise": True,
    "verbosity": -1,
}


@dataclass(frozen=True)
class Texts:
    """Prompts as counted once, before anything is fitted.

    Args:
        words: marks of single words, shape (n, WORD_BUCKETS).
        phrases: marks of words and neighbours, shape (n, PHRASE_BUCKETS).
        shape: shape (n, f).
    """

    words: sp.csr_matrix
    phrases: sp.csr_matrix
    shape: Floats

    @classmethod
    def of(cls, prompts: Sequence[str]) -> Texts:
        """Count."""
        words = wording.hashed(prompts, lambda text: set(wording.words(text)), WORD_BUCKETS)
        phrases = wording.hashed(prompts, lambda text: wording.runs(wording.tokens(text), 1, 2), PHRASE_BUCKETS)
        return cls(words, phrases, wording.shape(prompts))

    def __len__(self) -> int:
        return len(self.shape)

    def take(self, rows: Array) -> Texts:
        """Copy some prompts."""
        return Texts(self.words[rows], self.phrases[rows], self.shape[rows])


@dataclass(frozen=True)
class Judged:
    """What is known of how two models did.

    Args:
        texts: the prompts.
        good: shape (n, 2), y_w and y_s; NaN where not judged.
        weight: of each prompt, shape (n,).
    """

    texts: Texts
    good: Floats
    weight: Floats

    def __len__(self) -> int:
        return len(self.weight)

    def take(self, rows: Array) -> Judged:
        """Copy some prompts."""
        return Judged(self.texts.take(rows), self.good[rows], self.weight[rows])

    @property
    def known(self) -> Floats:
        """Mark what was judged, shape (n, 2)."""
        return (~np.isnan(self.good)).astype(np.float64)


@dataclass(frozen=True)
class Scales:
    """How counts become columns: rarity of words, scale of the shape."""

    rarity: Floats
    mean: Floats
    spread: Floats

    @classmethod
    def fit(cls, texts: Texts) -> Scales:
        """Learn from prompts; a word seen once tells nothing and gets no column."""
        seen = np.bincount(texts.words.indices, minlength=WORD_BUCKETS)
        rarity = np.log1p(len(texts) / (seen + 1.0)) * (seen > 1)
        return cls(rarity, texts.shape.mean(axis=0), np.maximum(texts.shape.std(axis=0), 1e-6))

    def rare(self, texts: Texts) -> sp.csr_matrix:
        """Weigh words by rarity: shape (n, WORD_BUCKETS), rows of length 2."""
        weighed = texts.words @ sp.diags(self.rarity.astype(np.float32))
        length = np.sqrt(np.asarray(weighed.multiply(weighed).sum(axis=1)).ravel())
        return sp.csr_matrix(sp.diags((2.0 / np.maximum(length, 1e-6)).astype(np.float32)) @ weighed)

    def all(self, texts: Texts) -> sp.csr_matrix:
        """Put rare words, phrases and shape side by side."""
        scaled = np.clip((texts.shape - self.mean) / self.spread, -CLIP, CLIP) / CLIP * SHAPE_WEIGHT
        blocks = [self.rare(texts), texts.phrases, sp.csr_matrix(scaled.astype(np.float32))]
        return sp.hstack(blocks, format="csr", dtype=np.float32)


@dataclass(frozen=True)
class Surface:
    """The gain as a smooth function of where a prompt's themes point: what is akin gains alike.

    How much of a prompt the themes cover does not count, only their direction. Prompts of one template share one
    direction, so however many there are, they say little of others.

    Args:
        landmarks: directions, shape (landmarks, themes).
        pulls: of the landmarks, shape (landmarks,).
        level: the gain where nothing pulls.
    """

    landmarks: Floats
    pulls: Floats
    level: float

    @classmethod
    def fit(cls, themes: Floats, gains: Floats, weight: Floats, seed: int) -> Surface:
        """Fit by penalised least squares, on landmarks drawn by chance.

        Args:
            themes: shape (n, themes).
            gains: pseudo gains, shape (n,).
            weight: of each prompt.
            seed: of the draw.
        """
        drawn = np.random.default_rng(seed).permutation(len(themes))[:LANDMARKS]
        landmarks = directions(themes[drawn])
        level = float((weight * gains).sum() / max(1e-9, float(weight.sum())))
        near, among = _kinship(themes, landmarks), _kinship(themes[drawn], landmarks)
        bent = (near * weight[:, None]).T @ near + SURFACE_PENALTY * (among + JITTER * np.eye(len(among)))
        pulls = np.linalg.solve(bent, near.T @ (weight * (gains - level)))
        return cls(landmarks, np.asarray(pulls, dtype=np.float64), level)

    def values(self, themes: Floats) -> Floats:
        """Give the gain, shape (n,)."""
        return np.asarray(_kinship(themes, self.landmarks) @ self.pulls + self.level, dtype=np.float64)


def directions(themes: Floats) -> Floats:
    """Scale rows to length 1; one without themes stays at 0."""
    return np.asarray(themes / np.maximum(np.linalg.norm(themes, axis=1, keepdims=True), 1e-9), dtype=np.float64)


def _kinship(themes: Floats, landmarks: Floats) -> Floats:
    """Tell how akin prompts are to landmarks, 0..1: shape (n, landmarks)."""
    return np.asarray(np.exp(2.0 * KINSHIP * (directions(themes) @ landmarks.T - 1.0)), dtype=np.float64)


@dataclass(frozen=True)
class Parts:
    """The fitted parts.

    Args:
        scales: of the columns.
        axes: of the themes, shape (WORD_BUCKETS, themes).
        surface: of the gain over themes.
        phrases: weights of phrases on gain, y_w and y_s, shape (PHRASE_BUCKETS + 1, 3); without trees, of all
            columns on the gain.
        trees: None while there are few prompts.
    """

    scales: Scales
    axes: Floats
    surface: Surface
    phrases: Floats
    trees: lgb.Booster | None

    def predict(self, texts: Texts) -> Floats:
        """Give each part's gain: shape (n, 2), with trees (n, 3)."""
        first = self.surface.values(self.themes(texts))
        if self.trees is None:
            return np.column_stack([first, predict(self.scales.all(texts), self.phrases)])
        margins = predict(texts.phrases, self.phrases)
        told = np.asarray(self.trees.predict(np.column_stack([margins, texts.shape]), num_threads=1))
        return np.column_stack([first, margins[:, 0], told])

    def themes(self, texts: Texts) -> Floats:
        """Give prompts' places along the axes, shape (n, themes)."""
        return np.asarray(self.scales.rare(texts) @ self.axes, dtype=np.float64)


def pseudo_gains(judged: Judged, fold: Ints) -> tuple[Floats, Floats]:
    """Give each prompt's gain as far as its judgements tell.

    Returns:
        (pseudo gains, weights), each of shape (n,): a prompt judged with one model only weighs less, by its noise.
    """
    known = judged.known
    both = known.all(axis=1)
    gains = np.where(both, judged.good[:, 1] - judged.good[:, 0], 0.0)
    if both.all():
        return gains, judged.weight.copy()
    expected = np.zeros((len(judged), 2))
    columns = Scales.fit(judged.texts).all(judged.texts)
    for number in range(FOLDS):
        inside, aside = fold != number, fold == number
        weight = known[inside] * judged.weight[inside, None]
        fitted = ridge(columns[inside], np.nan_to_num(judged.good[inside]), FEW_PENALTY, weight)
        expected[aside] = np.clip(predict(columns[aside], fitted), 0.0, 1.0)
    alone = ~both
    shares = (known[alone] * judged.weight[alone, None]).sum(axis=0) / max(1e-9, float(judged.weight[alone].sum()))
    surprise = np.nan_to_num(judged.good - expected) * known / np.maximum(shares, LEAST_SHARE)
    single = expected[:, 1] - expected[:, 0] + surprise[:, 1] - surprise[:, 0]
    gains = np.where(both, gains, single)
    noise = float(np.var(gains[alone])) if alone.any() else 1.0
    usual = float(np.var(gains[both])) if int(both.sum()) > FEWEST_TO_COMPARE else 0.25
    return gains, judged.weight * np.where(both, 1.0, min(1.0, usual / max(noise, 1e-9)))


@dataclass(frozen=True)
class Targets:
    """What the parts learn: pseudo gains and their weights, shape (n,); folds for what must not have been seen."""

    gains: Floats
    weight: Floats
    fold: Ints
    threads: int = 1
    seed: int = 0

    def grow(self, columns: Floats, rows: Array) -> lgb.Booster:
        """Grow trees on some rows."""
        parameters = {**PARAMETERS, "num_threads": self.threads, "seed": self.seed}
        data = lgb.Dataset(columns[rows], self.gains[rows], weight=self.weight[rows], params=parameters)
        return lgb.train(parameters, data, TREES)


def fit_parts(judged: Judged, targets: Targets) -> tuple[Parts, Unseen]:
    """Fit the parts, and what the trees and the blend may learn from: values of prompts that were not seen."""
    texts, gains, weight = judged.texts, targets.gains[:, None], targets.weight[:, None]
    scales = Scales.fit(texts)
    rare = scales.rare(texts)
    axes = main_axes(rare, THEMES)
    themes = np.asarray(rare @ axes, dtype=np.float64)
    by_theme = Surface.fit(themes, targets.gains, targets.weight, targets.seed)
    if len(judged) < BOOST_FROM:
        columns = scales.all(texts)
        parts = Parts(scales, axes, by_theme, ridge(columns, gains, FEW_PENALTY, weight), None)
        return parts, Unseen(themes, _aside(columns, gains, FEW_PENALTY, weight, targets.fold), None)
    several = np.column_stack([gains, np.nan_to_num(judged.good)])
    weights = np.column_stack([weight, judged.known * judged.weight[:, None]])
    told = _aside(texts.phrases, several, PHRASE_PENALTY, weights, targets.fold)
    seen = np.column_stack([told, texts.shape])
    trees = targets.grow(seen, np.arange(len(judged)))
    by_phrase = ridge(texts.phrases, several, PHRASE_PENALTY, weights)
    return Parts(scales, axes, by_theme, by_phrase, trees), Unseen(themes, told, seen)


@dataclass(frozen=True)
class Unseen:
    """What a fit leaves for the blend.

    Args:
        themes: shape (n, themes).
        margins: of the ridge on words, of prompts it had not seen, the gain first; shape (n, 1) or (n, 3).
        seen: what the trees see; None without trees.
    """

    themes: Floats
    margins: Floats
    seen: Floats | None

    def parts(self, targets: Targets) -> Floats:
        """Give what each part says of prompts it had not seen: shape (n, 2), with trees (n, 3)."""
        first, grown = np.zeros(len(self.themes)), np.zeros(len(self.themes))
        for number in range(FOLDS):
            inside, aside = targets.fold != number, targets.fold == number
            taught = (self.themes[inside], targets.gains[inside], targets.weight[inside])
            first[aside] = Surface.fit(*taught, targets.seed).values(self.themes[aside])
            if self.seen is not None:
                grown[aside] = targets.grow(self.seen, inside).predict(self.seen[aside], num_threads=1)
        told = np.column_stack([first, self.margins[:, 0]])
        return told if self.seen is None else np.column_stack([told, grown])


def _aside(columns: sp.csr_matrix, targets: Floats, penalty: float, weight: Floats, fold: Ints) -> Floats:
    """Give a ridge's values on rows that it was fitted without."""
    values = np.zeros(targets.shape)
    for number in range(FOLDS):
        inside, aside = fold != number, fold == number
        values[aside] = predict(columns[aside], ridge(columns[inside], targets[inside], penalty, weight[inside]))
    return values


SPARE_AXES = 8  # found besides, so that the last of those wanted is found well
TURNS = 8  # of the subspace; a few suffice where singular values fall


def main_axes(columns: sp.csr_matrix, most: int) -> Floats:
    """Find the axes along which rows differ most: shape (s, at most `most`), their signs fixed."""
    count = min(most, min(columns.shape) - 1)
    if count < 1 or columns.nnz == 0:
        return np.zeros((columns.shape[1], 1))
    # Subspace iteration, and not ARPACK: where rows repeat, that begins again at a place drawn by chance.
    rows = columns.astype(np.float64)
    turned = np.random.default_rng(0).standard_normal((rows.shape[1], min(count + SPARE_AXES, *rows.shape)))
    for _ in range(TURNS):
        turned, _ = np.linalg.qr(rows.T @ (rows @ turned))
    _, _, within = np.linalg.svd(rows @ turned, full_matrices=False)
    turned = (turned @ within.T).T[:count][::-1]
    strongest = turned[np.arange(len(turned)), np.abs(turned).argmax(axis=1)]
    return np.asarray((turned * np.sign(strongest)[:, None]).T[:, ::-1], dtype=np.float32).astype(np.float64)
