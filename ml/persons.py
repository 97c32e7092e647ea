"""Take the persons' own weights out of one Newton step, many persons at a time.

Symbols:
    r   rows of one person · c  design columns · d ≤ c  personal ones · Σ, shape (d, d)  the prior of a person's weights
    B   design of one person, centred within questions, each row times the root of its curvature: shape (r, c)
    P   its first d columns · K = I + P·Σ·Pᵀ, shape (r, r) · C = (Σ⁻¹ + Pᵀ·P)⁻¹, shape (d, d)

The Hessian of crowd and persons is an arrow: persons meet only through the crowd. Eliminated, a person adds Bᵀ·K⁻¹·B to
the crowd's Hessian. K⁻¹ is found as it is where a person has fewer rows than columns, else as I - P·C·Pᵀ. So time and
memory grow with the rows, whether they are of ten persons or of a hundred thousand.

Source: the Woodbury identity, as in Golub and Van Loan, Matrix Computations, §2.1.4.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ml.frame import Array, Floats, Ints

LARGEST_BATCH = 1_000_000  # numbers in the matrices of persons that are inverted at once: 8 MB


@dataclass(frozen=True)
class Group:
    """Persons with equally many rows, whose rows stand together.

    Args:
        persons: shape (b,), their places.
        rows: where their rows stand, person after person.
        each: r, how many rows one has.
    """

    persons: Ints
    rows: slice
    each: int


def order_by_person(person: Ints) -> Ints:
    """Order rows so that persons with equally many rows stand together, nobody's rows first.

    Args:
        person: shape (n,), int64, -1 for nobody.
    """
    known, place, counts = np.unique(person, return_inverse=True, return_counts=True)
    counts[known < 0] = 0
    return np.lexsort((place, counts[place]))


def group_persons(person: Ints, personal: int) -> list[Group]:
    """Find the groups of rows that `order_by_person` ordered, none larger than is inverted at once."""
    start = int((person < 0).sum())  # nobody's rows come first
    edges = start + np.flatnonzero(np.diff(person[start:], prepend=-1))
    sizes = np.diff(edges, append=len(person))
    out = []
    for each in np.unique(sizes).tolist():
        same = edges[sizes == each]
        most = max(1, LARGEST_BATCH // max(1, min(each, personal)) ** 2)
        parts = np.split(same, range(most, len(same), most))
        out += [Group(person[part], slice(int(part[0]), int(part[-1]) + each), each) for part in parts]
    return out


class Eliminated:
    """A group's own weights, solved for whatever the crowd's become."""

    def __init__(self, group: Group, scaled: Floats, sigma: Floats) -> None:
        self.group = group
        self._design = scaled[group.rows].reshape(len(group.persons), group.each, scaled.shape[1])
        self._own = self._design[:, :, : len(sigma)]
        self._sigma = sigma
        self._variances = np.diag(sigma)
        self._apart = np.count_nonzero(sigma) <= len(sigma)  # weights vary one by one: no product of matrices is needed
        self._few = group.each < len(sigma)
        if self._few:
            kernel = self._spread(self._own) @ self._own.swapaxes(1, 2) + np.eye(group.each)
        else:
            kernel = np.linalg.inv(sigma) + self._own.swapaxes(1, 2) @ self._own
        self._inverse = np.linalg.inv(kernel)

    def _spread(self, values: Floats) -> Floats:
        """Give values times Σ, shape (…, d)."""
        return np.asarray(values * self._variances if self._apart else values @ self._sigma)

    def _solved(self, values: Floats) -> Floats:
        """Give K⁻¹ times values, shape (b, r, k)."""
        if self._few:
            return np.asarray(self._inverse @ values)
        return np.asarray(values - self._own @ (self._inverse @ (self._own.swapaxes(1, 2) @ values)))

    def curvature(self) -> Floats:
        """Give what the group adds to the crowd's Hessian, shape (c, c)."""
        columns = self._design.shape[2]
        solved = self._solved(self._design)
        return np.asarray(self._design.reshape(-1, columns).T @ solved.reshape(-1, columns))

    def pull(self, wish: Floats) -> Floats:
        """Give what the persons take off the crowd's slope, shape (c,).

        Args:
            wish: shape (b, d), Σ times each person's slope, less where the person is.
        """
        solved = self._solved(self._own @ wish[:, :, None])
        return np.asarray(self._design.reshape(-1, self._design.shape[2]).T @ solved.reshape(-1))

    def step(self, wish: Floats, crowd_step: Floats) -> Floats:
        """Give the persons' own steps once the crowd's is known, shape (b, d)."""
        moved = self._own @ wish[:, :, None] + (self._design @ crowd_step)[:, :, None]
        return np.asarray(wish - self._spread((self._own.swapaxes(1, 2) @ self._solved(moved))[:, :, 0]))

    def covariance_sum(self, *, diagonal: bool) -> Floats:
        """Add up the persons' covariances, shape (d, d); only the diagonal is right where no more is asked for."""
        if not self._few:
            return np.asarray(self._inverse.sum(axis=0))
        spread = self._spread(self._own).reshape(-1, len(self._sigma))
        solved = self._solved(self._spread(self._own)).reshape(spread.shape)
        lost = np.diag(np.einsum("nd,nd->d", spread, solved)) if diagonal else spread.T @ solved
        return np.asarray(len(self.group.persons) * self._sigma - lost)

    def covariances(self, *, diagonal: bool) -> Floats:
        """Give each person's covariance, shape (b, d, d), or (b, d)."""
        if not self._few:
            return np.asarray(np.einsum("bdd->bd", self._inverse) if diagonal else self._inverse)
        spread = self._spread(self._own)
        solved = self._solved(spread)
        if diagonal:
            return np.asarray(self._variances - np.einsum("brd,brd->bd", spread, solved))
        return np.asarray(self._sigma - spread.swapaxes(1, 2) @ solved)


def add_own(out: Floats, design: Floats, groups: list[Group], own: Array) -> None:
    """Add to utilities, shape (n,), what the persons' own weights, shape (m, d), make of their rows."""
    for group in groups:
        part = design[group.rows, : own.shape[1]].reshape(len(group.persons), group.each, own.shape[1])
        out[group.rows] += (part @ own[group.persons][:, :, None]).reshape(-1)
