"""What the crowd likes, what each person likes on top, and how sure we are of both.

Symbols:
    n   rows · c  columns of the design · d ≤ c  its first columns, on which persons may differ · m  persons
    Φ   design, shape (n, c) · w  crowd weights, shape (c,) · u_p  a person's deviation, shape (d,)
    η   utility: Φ·w + Φ[:, :d]·u_p
    P(like) = sigmoid(η); within one question (rows shown together, one chosen) P = softmax of η over its rows.

Priors: w ~ N(centre, diag τ²), u_p ~ N(0, Σ). The variances are learned from the data (expectation maximisation
around the joint mode), one a block of columns, so that weak attributes shrink to nothing and a person with few rows
stays close to the crowd. The mode and its curvature are found by Newton's method; the persons are eliminated one by one
(the Hessian is an arrow), so the cost grows with the number of persons, not with its square.

Source: Laplace's approximation and empirical Bayes as in Gelman et al., Bayesian Data Analysis, ch. 13 and 15; the
mixed logit of Train, Discrete Choice Methods with Simulation, ch. 11 and 12, for a person's own weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from ml.frame import Array, Floats, Ints

EM_ROUNDS = 12  # variances move by less than 2 % afterwards on every set we measured
NEWTON_ROUNDS = 2  # a round of expectation maximisation starts from the last mode, so few steps do
LAST_ROUNDS = 8
STEP_LIMIT = 4.0  # largest change of any utility in one step: keeps Newton from overshooting on separable rows
BELIEF = 2.0  # how many observations the first guess of a variance is worth
FULL_DIMENSIONS = 16  # up to here, with enough persons, weights of one person may move together
PERSONS_PER_DIMENSION = 4
LARGEST_COVARIANCES = 4_000_000  # numbers kept for persons' covariances; above, only their diagonals


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
            error, spread, centred = _slopes(evidence, design, offset + design @ u)
            curvature = (centred * spread[:, None]).T @ centred + precision
            step = np.linalg.solve(curvature, design.T @ error - precision @ (u - mean))
            u = u + step * _damping(design @ step)
            if np.abs(step).max(initial=0.0) < 1e-6:  # noqa: PLR2004 - far below any difference a score shows
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


@dataclass
class _Mode:
    """The joint mode and its curvature, updated in place by Newton's steps."""

    w: Floats
    u: Floats
    crowd_covariance: Floats
    covariances: Floats


def fit_tastes(evidence: Evidence, blocks: Sequence[Block], names: Sequence[str]) -> Tastes:
    """Find the posterior and its variances.

    Args:
        evidence: rows; persons are numbered in the order of `names`.
        blocks: cover all c columns in order; those with a person variance come first.
        names: the persons.
    """
    order = np.argsort(evidence.person, kind="stable")
    rows = evidence.take(order)
    d = max((block.stop for block in blocks if block.person > 0), default=0)
    columns = rows.design.shape[1]
    centre, tau = np.zeros(columns), np.ones(columns)
    for block in blocks:
        centre[block.start : block.stop], tau[block.start : block.stop] = block.centre, block.crowd
    sigma = np.diag(np.concatenate([np.full(b.stop - b.start, b.person) for b in blocks])[:d] + 1e-9)
    m = len(names)
    mode = _Mode(centre.copy(), np.zeros((m, d)), np.diag(tau), np.tile(sigma, (m, 1, 1)))
    bounds = np.searchsorted(rows.person, np.arange(m + 1))
    full = d <= FULL_DIMENSIONS and m >= PERSONS_PER_DIMENSION * d
    for _ in range(EM_ROUNDS):
        _climb(rows, bounds, mode, (centre, tau, sigma), NEWTON_ROUNDS)
        tau = _crowd_variances(blocks, mode, centre, tau)
        sigma = _person_variances(blocks, mode, sigma, full=full)
    _climb(rows, bounds, mode, (centre, tau, sigma), LAST_ROUNDS)
    stranger = _alone(rows, blocks) if len(names) else mode.w
    kept = mode.covariances
    if kept.size > LARGEST_COVARIANCES:
        kept = np.ascontiguousarray(np.einsum("mdd->md", kept))
    return Tastes(
        mode.w, mode.crowd_covariance, stranger, sigma, {name: j for j, name in enumerate(names)}, mode.u, kept
    )


def _alone(rows: Evidence, blocks: Sequence[Block]) -> Floats:
    """Fit the weights, with variances of their own, as if all rows were one person's."""
    nobody = replace(rows, person=np.full(len(rows.label), -1, np.int64))
    return fit_tastes(nobody, [replace(block, person=0.0) for block in blocks], ()).crowd


def _climb(rows: Evidence, bounds: Array, mode: _Mode, prior: tuple[Floats, Floats, Floats], steps: int) -> None:
    centre, tau, sigma = prior
    d = len(sigma)
    own_precision = np.linalg.inv(sigma) if d else sigma
    people = [p for p in range(len(bounds) - 1) if bounds[p + 1] > bounds[p]]
    for _ in range(steps):
        eta = rows.design @ mode.w
        known = rows.person >= 0
        eta[known] += np.einsum("nd,nd->n", rows.design[known, :d], mode.u[rows.person[known]])
        error, spread, centred = _slopes(rows, rows.design, eta)
        scaled = centred * spread[:, None]
        hessian = scaled.T @ centred + np.diag(1.0 / tau)
        slope = rows.design.T @ error - (mode.w - centre) / tau
        parts = []
        for p in people:
            part = slice(bounds[p], bounds[p + 1])
            cross = scaled[part].T @ centred[part, :d]
            inverse = np.linalg.inv(cross[:d] + own_precision)
            own_slope = rows.design[part, :d].T @ error[part] - own_precision @ mode.u[p]
            gain = cross @ inverse
            hessian -= gain @ cross.T
            slope -= gain @ own_slope
            parts.append((inverse, gain, own_slope))
        mode.crowd_covariance = np.asarray(np.linalg.inv(hessian), dtype=np.float64)
        step = mode.crowd_covariance @ slope
        moved = rows.design @ step
        own_steps = np.zeros_like(mode.u)
        for p, (inverse, gain, own_slope) in zip(people, parts, strict=True):
            own_steps[p] = inverse @ own_slope - gain.T @ step
            mode.covariances[p] = inverse
        moved[known] += np.einsum("nd,nd->n", rows.design[known, :d], own_steps[rows.person[known]])
        damping = _damping(moved)
        mode.w = np.asarray(mode.w + damping * step, dtype=np.float64)
        mode.u = np.asarray(mode.u + damping * own_steps, dtype=np.float64)


def _slopes(rows: Evidence, design: Floats, eta: Floats) -> tuple[Floats, Floats, Floats]:
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


def _damping(moved: Floats) -> float:
    return float(min(1.0, STEP_LIMIT / max(STEP_LIMIT, np.abs(moved).max(initial=0.0))))


def _crowd_variances(blocks: Sequence[Block], mode: _Mode, centre: Floats, tau: Floats) -> Floats:
    second = (mode.w - centre) ** 2 + np.diag(mode.crowd_covariance)
    out = tau.copy()
    for block in blocks:
        if block.learned:
            part = slice(block.start, block.stop)
            total = second[part].sum() + BELIEF * block.crowd
            out[part] = total / (block.stop - block.start + BELIEF)
    return out


def _person_variances(blocks: Sequence[Block], mode: _Mode, sigma: Floats, *, full: bool) -> Floats:
    if not len(mode.u) or not len(sigma):
        return sigma
    total = mode.u.T @ mode.u + mode.covariances.sum(axis=0)
    guess = np.zeros(len(sigma))
    for block in blocks:
        guess[block.start : block.stop] = block.person
    guess = guess[: len(sigma)]
    if full:
        return np.asarray((total + BELIEF * np.diag(guess)) / (len(mode.u) + BELIEF) + 1e-9 * np.eye(len(sigma)))
    diagonal = np.diag(total).copy()
    for block in blocks:
        part = slice(block.start, min(block.stop, len(sigma)))
        width = max(1, part.stop - part.start)
        if part.stop > part.start:
            diagonal[part] = (diagonal[part].sum() + BELIEF * block.person) / (width * len(mode.u) + BELIEF)
    return np.diag(np.maximum(diagonal, 1e-9))


def _root(covariance: Floats) -> Floats:
    """Factor a covariance; eigenvalues that rounding made negative count as none."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)), dtype=np.float64)
