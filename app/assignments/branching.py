"""Choose among columns of 0 and 1 under rows, exactly, one aim after another.

How an aim is solved: its linear relaxation nearly always has a whole solution; where not, the search branches, first
over switches (either these columns or those), then over single columns, best bound first; what stays stubborn goes to
HiGHS's own branch and bound.

How it is held: where the relaxation's value is the whole optimum, its prices say which columns and rows every other
best solution leaves as they are (complementary slackness). Settling those holds the aim and makes the next one
smaller. Elsewhere a row demands the aim's value.

All figures are whole numbers, every answer is checked in whole numbers against the rows and all earlier aims, and
prices count from `PRICE` up only: no tolerance of the solver's can pass for a different choice.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, OptimizeResult, linprog, milp
from scipy.sparse import csr_array

from app.errors import OverloadedError

Numbers = NDArray[np.int64]

PRICE = 1e-3
"""Least price that counts: whole figures on a matrix of mostly 0 and 1 make whole or simply broken prices."""

ROUNDING = 1e-6  # a solution this near to whole numbers is whole; checked afterwards
NODES_MAX = 60
"""Relaxations our own search tries before HiGHS's takes over; it knows more tricks, but starts ten times slower."""

RETRY_S = 30.0
_DONE, _TIMED_OUT, _INFEASIBLE = 0, 1, 2  # scipy's status, of linprog and milp alike


class WholeModel:
    """Columns, rows, and the best known choice, which keeps all rows at all times.

    Args:
        width: how many columns there are.
        deadline: on the monotonic clock, in seconds.
    """

    def __init__(self, width: int, deadline: float) -> None:
        self._deadline = deadline
        self._rows = _Rows(width)
        self._switches: list[Sequence[Numbers]] = []
        self._held: list[tuple[Numbers, int]] = []
        self._bounds = _Box(np.zeros(width), np.ones(width))
        self.best = np.zeros(width, dtype=np.int64)

    def add_rule(self, high: int, *parts: tuple[Numbers, int]) -> None:
        """Demand that a sum stays at or below `high`, which is 0 or more.

        Args:
            high: the most it may be.
            parts: columns and the figure that each of them has in the sum.
        """
        self._rows.add(
            np.concatenate([c for c, _ in parts]), np.concatenate([np.full_like(c, v) for c, v in parts]), high
        )

    def add_switch(self, groups: Sequence[Numbers]) -> None:
        """Say that in any choice the columns of at most one of some groups are used; where to branch first."""
        self._switches.append(groups)

    def is_open(self, columns: Numbers) -> NDArray[np.bool_]:
        """Say which columns can still be used."""
        return np.asarray(self._bounds.upper[columns] > 0)

    def fix(self, columns: Numbers) -> None:
        """Settle columns as the best known choice has them."""
        self._bounds.lower[columns] = self._bounds.upper[columns] = self.best[columns]

    def improve(self, weights: Numbers) -> None:
        """Find the choice with the greatest sum of weights, and hold that sum from now on.

        Raises:
            OverloadedError: the time was not enough.
        """
        relaxed = self.choose(weights)
        value = int(weights @ self.best)
        self._held.append((weights, value))
        if relaxed is None:
            return
        gap = relaxed.value - value
        if gap > ROUNDING * max(1, abs(value)):
            # Only what costs more than the gap is settled, so the aim needs a row.
            self.fix(relaxed.columns[np.abs(relaxed.column_prices) > gap + PRICE])
            kept = np.flatnonzero(weights)
            self._rows.add(kept, -weights[kept], -value)
            return
        self.fix(relaxed.columns[np.abs(relaxed.column_prices) > PRICE])
        self._rows.tighten(relaxed.rows[np.abs(relaxed.row_prices) > PRICE])

    def choose(self, weights: Numbers) -> _Relaxed | None:
        """Find the choice with the greatest sum of weights, without holding it.

        Returns:
            The whole problem's relaxation; None where nothing was left to choose.

        Raises:
            OverloadedError: the time was not enough.
        """
        if not (self._bounds.moving() & (weights != 0)).any():
            return None
        root = self._relax(weights, self._bounds)
        if root is None:
            raise RuntimeError("The solver finds no choice where there is one.")
        if not self._search(weights, root):
            self._hand_over(weights)
        return root

    # --- our own search ---

    def _search(self, weights: Numbers, root: _Relaxed) -> bool:
        """Look for the best choice, best bound first; False when that takes too many relaxations."""
        order = itertools.count()
        waiting = [(-root.bound, next(order), root)]
        tried = 1
        while waiting:
            bound, _, node = heapq.heappop(waiting)
            if -bound <= int(weights @ self.best) or self._take(node.solution):
                return True
            for box in self._branches(node):
                if tried == NODES_MAX:
                    return False
                tried += 1
                child = self._relax(weights, box)
                if child is not None:
                    heapq.heappush(waiting, (-child.bound, next(order), child))
        return True

    def _branches(self, node: _Relaxed) -> Iterator[_Box]:
        for groups in self._switches:
            used = [group for group in groups if node.solution[group].max(initial=0.0) > ROUNDING]
            if len(used) > 1:
                for group in groups:
                    others = np.concatenate([other for other in groups if other is not group])
                    yield node.box.without(others)
                return
        distance = np.abs(node.solution - 0.5)
        column = np.array([int(distance.argmin())])
        yield node.box.using(column)
        yield node.box.without(column)

    def _relax(self, weights: Numbers, box: _Box) -> _Relaxed | None:
        """Solve the linear relaxation within bounds; None when nothing is within them."""
        columns = np.flatnonzero(box.moving())
        matrix, high, tight = self._rows.of_columns(columns, box.lower)
        upper, equal = np.flatnonzero(~tight), np.flatnonzero(tight)
        result = linprog(
            -weights[columns].astype(float),
            A_ub=matrix[upper] if upper.size else None,
            b_ub=high[upper] if upper.size else None,
            A_eq=matrix[equal] if equal.size else None,
            b_eq=high[equal] if equal.size else None,
            bounds=(0, 1),
            method="highs-ds",
            options={"time_limit": self._seconds_left()},
        )
        if result.status == _INFEASIBLE:
            return None
        _check(result)
        solution = box.lower.copy()
        solution[columns] = result.x
        value = float(weights @ solution)
        return _Relaxed(
            box=box,
            solution=solution,
            value=value,
            bound=math.floor(value + ROUNDING * max(1.0, abs(value))),
            columns=columns,
            column_prices=result.lower.marginals + result.upper.marginals,
            rows=upper,
            row_prices=result.ineqlin.marginals if upper.size else np.zeros(0),
        )

    def _take(self, solution: NDArray[np.float64]) -> bool:
        """Keep a solution as the best when it is whole, keeps the rows, and loses nothing in any earlier aim."""
        whole = np.asarray(np.rint(solution), dtype=np.int64)
        if np.abs(solution - whole).max() > ROUNDING or not self._rows.allow(whole):
            return False
        if any(int(weights @ whole) != value for weights, value in self._held):
            return False
        self.best = whole
        return True

    # --- HiGHS's search ---

    def _hand_over(self, weights: Numbers) -> None:
        columns = np.arange(weights.size)
        matrix, high, tight = self._rows.of_columns(columns, np.zeros(weights.size))
        result = milp(
            -weights.astype(float),
            integrality=np.ones(weights.size),
            bounds=Bounds(self._bounds.lower, self._bounds.upper),
            # Half a unit of room: whole sums can use none of it, and no rounding can forbid one that is right.
            constraints=LinearConstraint(matrix, np.where(tight, high - 0.5, -np.inf), high + 0.5),
            options={"mip_rel_gap": 0, "time_limit": self._seconds_left()},
        )
        _check(result)
        if not self._take(result.x):
            raise RuntimeError("The solver's answer does not keep the rules.")

    def _seconds_left(self) -> float:
        left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            raise _too_slow()
        return left_s


@dataclass(frozen=True)
class _Box:
    """Bounds of the columns, each array of shape (columns,) and of 0 and 1."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def moving(self) -> NDArray[np.bool_]:
        return np.asarray(self.upper > self.lower)

    def without(self, columns: Numbers) -> _Box:
        upper = self.upper.copy()
        # What is settled as used stays so: such a box is empty, and its relaxation says it.
        upper[columns] = self.lower[columns]
        return _Box(self.lower, upper)

    def using(self, columns: Numbers) -> _Box:
        lower = self.lower.copy()
        lower[columns] = 1
        return _Box(lower, self.upper)


@dataclass(frozen=True)
class _Relaxed:
    """A linear relaxation's answer.

    Args:
        box: the bounds it was solved in.
        solution: shape (columns of the model,).
        value: its worth.
        bound: no whole choice in the box is worth more.
        columns: those that could move.
        column_prices: theirs.
        rows: those that were inequalities.
        row_prices: theirs.
    """

    box: _Box
    solution: NDArray[np.float64]
    value: float
    bound: int
    columns: Numbers
    column_prices: NDArray[np.float64]
    rows: Numbers
    row_prices: NDArray[np.float64]


class _Rows:
    """Rows of the form a x <= high; a tight one has equality.

    Args:
        width: columns of a.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._columns: list[Numbers] = []
        self._values: list[Numbers] = []
        self._high: list[int] = []
        self._tight: list[bool] = []
        self._matrix: csr_array | None = None

    def add(self, columns: Numbers, values: Numbers, high: int) -> None:
        """Add a row by its columns that are not 0."""
        self._columns.append(columns)
        self._values.append(values)
        self._high.append(high)
        self._tight.append(False)
        self._matrix = None

    def tighten(self, rows: Numbers) -> None:
        """Demand equality of rows from now on."""
        for row in rows:
            self._tight[row] = True

    def allow(self, whole: Numbers) -> bool:
        """Whether a choice keeps all rows; in whole numbers, exactly."""
        sums = self._whole() @ whole
        high, tight = np.array(self._high), np.array(self._tight)
        return bool(np.all(np.where(tight, sums == high, sums <= high)))

    def of_columns(self, columns: Numbers, fixed: NDArray[np.float64]) -> tuple[csr_array, Any, Any]:
        """Give the rows over some columns, the others being fixed.

        Returns:
            Matrix, shape (rows, columns); high, float64; tight, bool.
        """
        matrix = self._whole().astype(float)
        high = np.array(self._high, dtype=float) - matrix @ fixed
        return matrix[:, columns], high, np.array(self._tight)

    def _whole(self) -> csr_array:
        if self._matrix is None:
            starts = np.cumsum([0, *(len(columns) for columns in self._columns)])
            parts = (np.concatenate(self._values), np.concatenate(self._columns), starts)
            self._matrix = csr_array(parts, shape=(len(self._columns), self._width))
        return self._matrix


def _check(result: OptimizeResult) -> None:
    if result.status == _TIMED_OUT:
        raise _too_slow()
    if result.status != _DONE:
        raise RuntimeError(f"The solver failed: {result.message}")


def _too_slow() -> OverloadedError:
    return OverloadedError(
        "The meeting could not be computed in time. Send fewer candidates or activities, or raise"
        " MEETING_TIME_LIMIT_S.",
        retry_after_s=RETRY_S,
        code="meeting_time_limit",
    )
