"""Find the posterior of the crowd's weights and the persons', and how much both differ.

Symbols: as in `ml/tastes.py`; τ² the prior variances of the crowd's weights, Σ the prior covariance of a person's.

Priors: w ~ N(centre, diag τ²), u ~ N(0, Σ). The variances are learned from the data (expectation maximisation around
the joint mode), one a block of columns, so that weak attributes shrink to nothing and a person with few rows stays
close to the crowd. The mode and its curvature are found by Newton's method; the persons are taken out of each step
(`ml/persons.py`).

Source: Laplace's approximation and empirical Bayes as in Gelman et al., Bayesian Data Analysis, ch. 13 and 15; the
mixed logit of Train, Discrete Choice Methods with Simulation, ch. 11 and 12, for a person's own weights.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ml.frame import Floats
from ml.persons import Eliminated, Group, add_own, group_persons, order_by_person
from ml.tastes import LAST_ROUNDS, STILL, Block, Evidence, Tastes, damping, losses, slopes

EM_ROUNDS = 40  # at most: the crowd's variances settle in three
SETTLED = 1e-3  # a round that moves no variance by a larger share is the last
NEWTON_ROUNDS = 2  # a round of expectation maximisation starts from the last mode, so few steps do
BELIEF = 2.0  # how many observations the first guess of a variance is worth
SCALES = (1.0, 0.1, 0.2, 0.5, 2.0, 5.0, 10.0)  # of the persons' variances, to choose from
FEWEST_TO_SCALE = 10  # persons
FULL_DIMENSIONS = 16  # up to here, with enough persons, weights of one person may move together
PERSONS_PER_DIMENSION = 4
LARGEST_COVARIANCES = 4_000_000  # numbers kept for persons' covariances; above, only their diagonals


@dataclass
class _Mode:
    """The joint mode and its curvature, updated in place by Newton's steps.

    Args:
        w: shape (c,).
        u: shape (m, d).
        crowd_covariance: shape (c, c).
    """

    w: Floats
    u: Floats
    crowd_covariance: Floats


@dataclass(frozen=True)
class _Prior:
    centre: Floats
    tau: Floats
    sigma: Floats


def fit_tastes(evidence: Evidence, blocks: Sequence[Block], names: Sequence[str]) -> Tastes:
    """Find the posterior and its variances.

    Args:
        evidence: rows; persons are numbered in the order of `names`.
        blocks: cover all c columns in order; those with a person variance come first.
        names: the persons; of one without rows nothing is kept, like of one we do not know.
    """
    d = max((block.stop for block in blocks if block.person > 0), default=0)
    rows, groups, known = _sorted(evidence, d)
    del evidence  # sorted above: where nobody else holds it, its memory is free now
    prior, mode = _start(blocks, len(known), d)
    full = d <= FULL_DIMENSIONS and len(known) >= PERSONS_PER_DIMENSION * d
    for _ in range(EM_ROUNDS):
        solved = _climb(rows, groups, mode, prior, NEWTON_ROUNDS)
        doubt = np.zeros_like(prior.sigma)
        for part in solved:
            doubt += part.covariance_sum(diagonal=not full)
        sigma = _person_variances(blocks, mode.u, doubt, prior.sigma, full=full) if known else prior.sigma
        before, prior = prior, _Prior(prior.centre, _crowd_variances(blocks, mode, prior), sigma)
        if _settled(before.tau, prior.tau) and _settled(np.diag(before.sigma), np.diag(prior.sigma)):
            break
    if known:
        prior = replace(prior, sigma=_scale(rows, mode.w, prior.sigma) * prior.sigma)
    solved = _climb(rows, groups, mode, prior, LAST_ROUNDS)
    covariances = _covariances(solved, len(known), d, diagonal=_only_diagonals(len(known), d))
    stranger = _alone(rows, blocks) if len(names) else mode.w
    persons = {names[j]: number for number, j in enumerate(known)}
    return Tastes(mode.w, mode.crowd_covariance, stranger, prior.sigma, persons, mode.u, covariances)


def learn_persons(tastes: Tastes, lots: Iterable[Evidence], names: Sequence[str]) -> Tastes:
    """Learn every person's own weights anew; the crowd's and the variances stay.

    Args:
        tastes: gives the crowd's weights and the prior of a person's.
        lots: rows, lot by lot, so that they need not be in memory at once; all rows of a person are in one lot. Persons
            are numbered in the order of `names`.
        names: the persons; of one without rows nothing is kept.
    """
    d = tastes.personal
    diagonal = _only_diagonals(len(names), d)
    persons: list[str] = []
    means, covariances = [np.zeros((0, d))], [np.zeros((0, d) if diagonal else (0, d, d))]
    for evidence in lots:
        rows, groups, known = _sorted(evidence, d)
        u, solved = _climb_alone(rows, groups, tastes.crowd, tastes.spread, len(known))
        persons += [names[j] for j in known]
        means.append(u)
        covariances.append(_covariances(solved, len(known), d, diagonal=diagonal))
    places = {name: number for number, name in enumerate(persons)}
    return replace(tastes, persons=places, means=np.concatenate(means), covariances=np.concatenate(covariances))


def _climb_alone(
    rows: Evidence, groups: list[Group], crowd: Floats, sigma: Floats, persons: int
) -> tuple[Floats, list[Eliminated]]:
    """Take Newton's steps with the crowd where it is."""
    d = len(sigma)
    offset, own = rows.design @ crowd, rows.design[:, :d]
    u = np.zeros((persons, d))
    solved: list[Eliminated] = []
    for _ in range(LAST_ROUNDS):
        eta = offset.copy()
        add_own(eta, own, groups, u)
        error, spread, centred = slopes(rows, own, eta)
        scaled = centred * np.sqrt(spread)[:, None]
        wish = _wishes(rows, groups, error, sigma) - u
        solved = [Eliminated(group, scaled, sigma) for group in groups]
        step = np.zeros_like(u)
        for part in solved:
            step[part.group.persons] = part.step(wish[part.group.persons], np.zeros(d))
        moved = np.zeros(len(eta))
        add_own(moved, own, groups, step)
        u = np.asarray(u + damping(moved) * step, dtype=np.float64)
        if np.abs(moved).max(initial=0.0) < STILL:
            break
    return u, solved


def _scale(rows: Evidence, crowd: Floats, sigma: Floats) -> float:
    """Choose by what factor to believe that persons differ: their first rows tell about those that follow.

    Laplace's approximation makes persons too much alike where they have hardly more rows than weights, and a first
    guess makes them too unlike where they do not differ. To believe it less, it is enough that this does better; to
    believe it more, better by more than a standard error.
    """
    kept = rows.take(np.flatnonzero(rows.person >= 0))
    early = _first_halves(kept)
    learned, groups, persons = _sorted(kept.take(np.flatnonzero(early)), len(sigma))
    asked = kept.take(np.flatnonzero(~early))
    offset, own = asked.design @ crowd, asked.design[:, : len(sigma)]
    place = np.searchsorted(persons, asked.person)
    found: dict[float, Floats] = {}
    for scale in SCALES:
        u, _ = _climb_alone(learned, groups, crowd, scale * sigma, len(persons))
        each = losses(asked, offset + np.einsum("nd,nd->n", own, u[place]))
        found[scale] = np.bincount(place, weights=each, minlength=len(persons)).astype(np.float64)
    best = min(found, key=lambda scale: float(found[scale].sum()))
    gain = found[1.0] - found[best]
    if len(gain) < FEWEST_TO_SCALE or (best > 1 and gain.mean() < gain.std() / np.sqrt(len(gain))):
        return 1.0
    return best


def _first_halves(rows: Evidence) -> npt.NDArray[np.bool_]:
    """Mark the first half of each person's rows, or questions, in the order they came; of an odd number the larger."""
    unit = np.arange(len(rows.label)) if rows.question is None else rows.question
    _, first, place = np.unique(unit, return_index=True, return_inverse=True)
    order = np.lexsort((first, rows.person[first]))
    owner = rows.person[first][order]
    begins, ends = np.searchsorted(owner, owner), np.searchsorted(owner, owner, side="right")
    early = np.empty(len(order), dtype=bool)
    early[order] = 2 * (np.arange(len(order)) - begins) < ends - begins
    return np.asarray(early[place])


def _sorted(evidence: Evidence, personal: int) -> tuple[Evidence, list[Group], list[int]]:
    """Sort rows into groups of persons, who are numbered anew without those that have no rows."""
    person = evidence.person if personal else np.full(len(evidence.label), -1, np.int64)
    known = np.unique(person[person >= 0])
    order = order_by_person(person)
    rows = evidence if np.all(np.diff(order) == 1) else evidence.take(order)
    person = np.where(rows.person >= 0, np.searchsorted(known, rows.person), -1) if personal else rows.person
    return replace(rows, person=person), group_persons(person, personal) if personal else [], known.tolist()


def _start(blocks: Sequence[Block], persons: int, personal: int) -> tuple[_Prior, _Mode]:
    centre = np.concatenate([np.full(block.stop - block.start, block.centre) for block in blocks])
    tau = np.concatenate([np.full(block.stop - block.start, block.crowd) for block in blocks])
    own = np.concatenate([np.full(block.stop - block.start, block.person) for block in blocks])[:personal]
    sigma = np.diag(own + 1e-9)
    return _Prior(centre, tau, sigma), _Mode(centre.copy(), np.zeros((persons, personal)), np.diag(tau))


def _alone(rows: Evidence, blocks: Sequence[Block]) -> Floats:
    """Fit the weights, with variances of their own, as if all rows were one person's."""
    nobody = replace(rows, person=np.full(len(rows.label), -1, np.int64))
    return fit_tastes(nobody, [replace(block, person=0.0) for block in blocks], ()).crowd


def _climb(rows: Evidence, groups: list[Group], mode: _Mode, prior: _Prior, steps: int) -> list[Eliminated]:
    """Take Newton's steps; give the persons as they were solved for in the last one."""
    nobody = slice(0, groups[0].rows.start if groups else len(rows.label))
    solved: list[Eliminated] = []
    for _ in range(steps):
        eta = rows.design @ mode.w
        add_own(eta, rows.design, groups, mode.u)
        error, spread, centred = slopes(rows, rows.design, eta)
        scaled = centred * np.sqrt(spread)[:, None]
        hessian = scaled[nobody].T @ scaled[nobody] + np.diag(1.0 / prior.tau)
        slope = rows.design.T @ error - (mode.w - prior.centre) / prior.tau
        wish = _wishes(rows, groups, error, prior.sigma) - mode.u
        solved = [Eliminated(group, scaled, prior.sigma) for group in groups]
        for part in solved:
            hessian += part.curvature()
            slope -= part.pull(wish[part.group.persons])
        mode.crowd_covariance = np.asarray(np.linalg.inv(hessian), dtype=np.float64)
        step = mode.crowd_covariance @ slope
        own_step = np.zeros_like(mode.u)
        for part in solved:
            own_step[part.group.persons] = part.step(wish[part.group.persons], step)
        moved = rows.design @ step
        add_own(moved, rows.design, groups, own_step)
        factor = damping(moved)
        mode.w = np.asarray(mode.w + factor * step, dtype=np.float64)
        mode.u = np.asarray(mode.u + factor * own_step, dtype=np.float64)
        if np.abs(moved).max(initial=0.0) < STILL:
            break
    return solved


def _settled(before: Floats, after: Floats) -> bool:
    return bool(np.all(np.abs(after - before) <= SETTLED * before))


def _only_diagonals(persons: int, personal: int) -> bool:
    return persons * personal**2 > LARGEST_COVARIANCES


def _covariances(solved: list[Eliminated], persons: int, personal: int, *, diagonal: bool) -> Floats:
    """Give each person's covariance, shape (m, d, d), or (m, d)."""
    out = np.zeros((persons, personal) if diagonal else (persons, personal, personal))
    for part in solved:
        out[part.group.persons] = part.covariances(diagonal=diagonal)
    return out


def _wishes(rows: Evidence, groups: list[Group], error: Floats, sigma: Floats) -> Floats:
    """Give Σ times the slope of each person's own weights, shape (m, d)."""
    out = np.zeros((sum(len(group.persons) for group in groups), len(sigma)))
    for group in groups:
        shape = (len(group.persons), group.each)
        part = rows.design[group.rows, : len(sigma)].reshape(*shape, len(sigma))
        out[group.persons] = (error[group.rows].reshape(shape)[:, None, :] @ part)[:, 0, :] @ sigma
    return out


def _crowd_variances(blocks: Sequence[Block], mode: _Mode, prior: _Prior) -> Floats:
    second = (mode.w - prior.centre) ** 2 + np.diag(mode.crowd_covariance)
    out = prior.tau.copy()
    for block in blocks:
        if block.learned:
            part = slice(block.start, block.stop)
            total = second[part].sum() + BELIEF * block.crowd
            out[part] = total / (block.stop - block.start + BELIEF)
    return out


def _person_variances(blocks: Sequence[Block], u: Floats, doubt: Floats, sigma: Floats, *, full: bool) -> Floats:
    """Learn Σ from the persons' modes and from their covariances, added up.

    One by one the variances take MacKay's step: it has the same fixed point as expectation maximisation and gets there
    also where persons hardly differ, for which the other would need hundreds of rounds.
    """
    guess = np.concatenate([np.full(block.stop - block.start, block.person) for block in blocks])[: len(sigma)]
    if full:
        learned = u.T @ u + doubt + BELIEF * np.diag(guess)
        return np.asarray(learned / (len(u) + BELIEF) + 1e-9 * np.eye(len(sigma)))
    seen, unknown = (u**2).sum(axis=0), np.diag(doubt) / np.diag(sigma)
    out = np.ones(len(sigma))
    for block in blocks:
        part = slice(block.start, min(block.stop, len(sigma)))
        if part.stop > part.start:
            told = max(0.0, (part.stop - part.start) * len(u) - float(unknown[part].sum()))
            out[part] = (seen[part].sum() + BELIEF * block.person) / (told + BELIEF)
    return np.diag(np.maximum(out, 1e-9))
