"""What the crowd likes, what each person likes on top, and how sure we are of both.

Symbols:
    n   rows · c  columns of the design · d ≤ c  its first columns, on which persons may differ · m  persons
    Φ   design, shape (n, c) · w  crowd weights, shape (c,) · u_p  a person's deviation, shape (d,)
    η   utility: Φ·w + Φ[:, :d]·u_p
    P(like) = sigmoid(η); within one question (rows shown together, one chosen) P = softmax of η over its rows.

`ml/posterior.py` finds it; here it is used, and one person's new rows are added to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from ml.frame import Array, Floats, Ints

LAST_ROUNDS = 8
STILL = 1e-7  # a step that moves no utility by more is the last: far below any difference a score shows
STEP_LIMIT = 4.0  # largest change of any utility in one step: keeps Newton from overshooting on separable rows


@dataclass(frozen=True)
class Block:
    """Columns that share one prior variance.

    Args:
        start: first column.
        stop: one past the last.
        crowd: first guess of the crowd's variance.
        person: first guess of the variance between persons; 0 for columns on which they do not differ.
        centre: prior mean of the crowd's weights.
        learned: whether the crowd's variance is learned; a fixed one is a statement, not a guess.
    """

    start: int
    stop: int
    crowd: float
    person: float
    centre: float = 0.0
    learned: bool = True


@dataclass(frozen=True)
class Evidence:
    """Rows to learn tastes from.

    Args:
        design: Φ, shape (n, c), float64.
        label: shape (n,), 0/1.
        weight: shape (n,), positive.
        person: shape (n,), int64: 0..m-1, or -1 for nobody in particular.
        question: shape (n,), int64, rows of one id were shown together, one was chosen; None: each row alone.
    """

    design: Floats
    label: Floats
    weight: Floats
    person: Ints
    question: Ints | None = None

    def take(self, rows: Array) -> Evidence:
        """Keep some rows."""
        question = None if self.question is None else self.question[rows]
        return Evidence(self.design[rows], self.label[rows], self.weight[rows], self.person[rows], question)


@dataclass(frozen=True)
class Tastes:
    """The posterior.

    Args:
        crowd: ŵ, shape (c,).
        crowd_covariance: shape (c, c).
        stranger: shape (c,): weights that predict best for somebody we do not know. Not ŵ: averaged over unlike
            persons, a probability is flatter and peaks elsewhere than that of the average person.
        spread: Σ, shape (d, d): how persons differ; what is assumed of one we do not know.
        persons: name to place in the two arrays that follow.
        means: û, shape (m, d).
        covariances: shape (m, d, d), or (m, d) when only diagonals are kept.
    """

    crowd: Floats
    crowd_covariance: Floats
    stranger: Floats
    spread: Floats
    persons: Mapping[str, int]
    means: Floats
    covariances: Floats

    @property
    def personal(self) -> int:
        """Count the leading columns on which persons may differ."""
        return int(self.spread.shape[0])

    def deviation(self, person: str | None) -> tuple[Floats, Floats]:
        """Give a person's û (d,) and covariance (d, d); the prior for one we do not know."""
        place = None if person is None else self.persons.get(person)
        if place is None:
            return np.zeros(self.personal), self.spread
        kept = self.covariances[place]
        return self.means[place], (np.diag(kept) if kept.ndim == 1 else kept)

    def weights(self, person: str | None) -> Floats:
        """Give the weights that score for a person, shape (c,); the stranger's for one we do not know."""
        if person is None or person not in self.persons:
            return self.stranger
        out = self.crowd.copy()
        out[: self.personal] += self.means[self.persons[person]]
        return out

    def utility(self, design: Floats, persons: Sequence[str | None]) -> Floats:
        """Give the mean of η, shape (n,); `persons` has one name a row, or just one for all."""
        if len(persons) == 1:
            return np.asarray(design @ self.weights(persons[0]), dtype=np.float64)
        places = np.array([-1 if name is None else self.persons.get(name, -1) for name in persons])
        known = np.flatnonzero(places >= 0)
        eta = np.asarray(design @ self.stranger, dtype=np.float64)
        eta[known] = design[known] @ self.crowd
        eta[known] += np.einsum("nd,nd->n", design[known, : self.personal], self.means[places[known]])
        return eta

    def variance_of(self, last: int) -> float:
        """Tell how much the weights of the last columns differ; 0 for none.

        Their modes alone are shrunk and differ by less: what is not known of each is added.
        """
        if not last:
            return 0.0
        return float(np.mean(self.crowd[-last:] ** 2 + np.diag(self.crowd_covariance)[-last:]))

    def draw(self, design: Floats, person: str | None, draws: int, rng: np.random.Generator) -> Floats:
        """Draw utilities from the posterior.

        Returns:
            shape (draws, n): rows of one draw belong together, as attributes share their uncertainty.
        """
        mean, covariance = self.deviation(person)
        weights = self.crowd + rng.standard_normal((draws, len(self.crowd))) @ _root(self.crowd_covariance).T
        own = mean + rng.standard_normal((draws, self.personal)) @ _root(covariance).T
        weights[:, : self.personal] += own
        return np.asarray(weights @ design.T, dtype=np.float64)

    def learn(self, evidence: Evidence, person: str) -> Tastes:
        """Add one person's rows to what is known of that person; the crowd's weights stay."""
        mean, covariance = self.deviation(person)
        precision = np.linalg.inv(covariance + 1e-9 * np.eye(self.personal))
        offset = evidence.design @ self.crowd
        design = evidence.design[:, : self.personal]
        u = mean.copy()
        curvature = precision
        for _ in range(2 * LAST_ROUNDS):
            error, spread, centred = slopes(evidence, design, offset + design @ u)
            curvature = (centred * spread[:, None]).T @ centred + precision
            step = np.linalg.solve(curvature, design.T @ error - precision @ (u - mean))
            u = u + step * damping(design @ step)
            if np.abs(step).max(initial=0.0) < STILL:
                break
        return self._with(person, u, np.linalg.inv(curvature))

    def _with(self, person: str, mean: Floats, covariance: Floats) -> Tastes:
        kept = covariance if self.covariances.ndim == 3 else np.diag(covariance)  # noqa: PLR2004 - (m, d, d)
        place = self.persons.get(person)
        if place is None:
            means = np.concatenate([self.means, mean[None]])
            return replace(
                self,
                persons={**self.persons, person: len(self.means)},
                means=means,
                covariances=np.concatenate([self.covariances, kept[None]]),
            )
        means, covariances = self.means.copy(), self.covariances.copy()
        means[place], covariances[place] = mean, kept
        return replace(self, means=means, covariances=covariances)


def slopes(rows: Evidence, design: Floats, eta: Floats) -> tuple[Floats, Floats, Floats]:
    """Give the label's surprise, the curvature's weight and the design it applies to, row by row."""
    if rows.question is None:
        p = expit(eta)
        return rows.weight * (rows.label - p), rows.weight * np.maximum(p * (1 - p), 1e-6), design
    _, place = np.unique(rows.question, return_inverse=True)
    count = int(place.max()) + 1 if len(place) else 0
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, place, eta)
    raised = np.exp(eta - highest[place])
    p = raised / np.bincount(place, weights=raised, minlength=count)[place]
    mean = np.zeros((count, design.shape[1]))
    np.add.at(mean, place, p[:, None] * design)
    return rows.weight * (rows.label - p), rows.weight * p, design - mean[place]


def losses(rows: Evidence, eta: Floats) -> Floats:
    """Give each row's part of the negative log-likelihood, in nats, shape (n,)."""
    if rows.question is None:
        return np.asarray(rows.weight * (np.logaddexp(0.0, eta) - rows.label * eta), dtype=np.float64)
    _, place = np.unique(rows.question, return_inverse=True)
    highest = np.full(int(place.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(highest, place, eta)
    total = np.log(np.bincount(place, weights=np.exp(eta - highest[place]))) + highest
    return np.asarray(rows.weight * rows.label * (total[place] - eta), dtype=np.float64)


def damping(moved: Floats) -> float:
    """Shorten a step that would move a utility too far: a factor in (0, 1]."""
    return float(min(1.0, STEP_LIMIT / max(STEP_LIMIT, np.abs(moved).max(initial=0.0))))


def _root(covariance: Floats) -> Floats:
    """Factor a covariance; eigenvalues that rounding made negative count as none."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), dtype=np.float64)
