"""The public surface: fit a scorer on rows of any form, and load a saved one.

A label of 0 and 1 makes a `Preference`: P(like) of a structure by a person, P(accepted) of a person in a role, or P(the
strong model gains) of a prompt. A label of names makes a `Roster`: who takes a task, which kind a request is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from ml import artifact
from ml.card import Card
from ml.choosing import Pick
from ml.errors import ArtifactError, RowsError
from ml.fitting import fit_preference
from ml.frame import Array, Floats, Rows, is_numeric
from ml.preference import Explanation, Preference
from ml.roster import Roster, fit_roster
from ml.table import Column, Options, Roles, read_table


class Scorer(Protocol):
    """What every fitted scorer can do."""

    @property
    def card(self) -> Card:
        """Facts about it."""
        ...

    def score(self, rows: Rows, person: str | Sequence[str] | Array | None = None, *, threads: int = 1) -> Floats:
        """Give one probability a row, shape (n,)."""
        ...

    def explain(self, row: dict[str, Any], person: str | None = None) -> Explanation:
        """Split one row's log odds over its attributes."""
        ...

    def choose(
        self, rows: Rows, k: int, *, exploration_rate: float = 0.2, rng: np.random.Generator, person: str | None = None
    ) -> list[Pick]:
        """Choose k candidates, best or by exploring, with propensities."""
        ...

    def save(self, path: str | Path) -> None:
        """Write it as text."""
        ...


def fit(  # noqa: PLR0913 - the roles a column can have; all but two by name
    rows: Rows,
    label: Column,
    group: Column = None,
    weight: Column = None,
    time: Column = None,
    *,
    item: Column = None,
    question: Column = None,
    running: Scorer | None = None,
    options: Options | None = None,
) -> Preference | Roster:
    """Learn from rows, measure on rows kept aside, and say on the card whether to promote.

    Args:
        rows: of any form `ml.as_frame` reads. Columns without a role below are attributes.
        label: a column's name, or values: 0/1, or names to choose between.
        group: the person each row is of; likes differ between persons, and rows of one stay on one side of a split.
        weight: of each row, positive.
        time: numbers or ISO text; when given, the latest rows are kept aside to measure on.
        item: what is liked, when the same comes again; it gets a weight of its own.
        question: rows shown together of which just one was chosen; learned as a choice, not as single verdicts.
        running: the scorer in service, compared on the same rows kept aside.
        options: threads, seed, features, kinds, monotone constraints, split.

    Returns:
        A `Preference` for 0/1, a `Roster` for names. Below 100 rows, or 20 of either label, `card.method` is
        `smoothed_rates`: attributes' and items' rates, shrunk, without trees.

    Raises:
        RowsError: no rows, a missing column, a label or weight that cannot be used.
    """
    chosen = options or Options()
    table = read_table(rows, Roles(label, group, weight, time, item, question), chosen)
    numeric = is_numeric(table.label)
    if numeric and np.isnan(table.label).any():
        raise RowsError(f"{int(np.isnan(table.label).sum())} rows have no label: leave them out")
    with threadpool_limits(1, "blas"):  # small matrices gain nothing from more, and sums must not depend on the machine
        if numeric and np.all((table.label == 0) | (table.label == 1)):
            return fit_preference(table, chosen, running if isinstance(running, Preference) else None)
        return fit_roster(table, chosen, running if isinstance(running, Roster) else None)


def load(path: str | Path, *, feature_set: str | None = None) -> Preference | Roster:
    """Read a saved scorer.

    Args:
        path: of the artifact.
        feature_set: what the caller's data have; a scorer of another set is refused.

    Raises:
        ArtifactError: missing, broken, foreign, or of another feature set. Keep the scorer that serves.
    """
    content = artifact.read(path)
    kinds: dict[str, Callable[[dict[str, Any]], Preference | Roster]] = {
        "preference": Preference.from_content,
        "roster": Roster.from_content,
    }
    build = kinds.get(str(content.get("kind")))
    if build is None:
        raise ArtifactError(f"{Path(path).name} holds a scorer of kind {content.get('kind')!r}, which is unknown here")
    scorer = build(content)
    if feature_set is not None and scorer.card.feature_set != feature_set:
        raise ArtifactError(
            f"{Path(path).name} was learned from feature set {scorer.card.feature_set}, not {feature_set}"
        )
    return scorer
