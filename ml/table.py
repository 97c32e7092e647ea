"""Sort the columns of given rows into what they are: attributes, label, person, weight, time, item, question."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ml.encoding import Kind
from ml.errors import RowsError
from ml.frame import Array, Floats, Frame, Ints, Rows, as_column, as_frame, as_text, is_numeric
from ml.splits import Split

Column = str | Sequence[Any] | Array | None  # the name of a column of the rows, or its values
# From items, labels and weights of known rows, and the items of others, to the others' probabilities.
ItemRule = Callable[[Array, Floats, Floats, Array], Floats]


@dataclass(frozen=True)
class Roles:
    """Which columns are not attributes; each a name or the values themselves.

    Args:
        label: what to learn.
        group: the person; "" where unknown.
        weight: positive.
        time: numbers or ISO text; sorts.
        item: what is liked, when the same thing comes again.
        question: rows shown together, of which one was chosen.
    """

    label: Column
    group: Column = None
    weight: Column = None
    time: Column = None
    item: Column = None
    question: Column = None


@dataclass(frozen=True)
class Options:
    """How to fit.

    Args:
        threads: of the trees; results do not depend on it.
        seed: of every draw.
        features: attributes to use; all columns without another role when None.
        kinds: of columns whose values mislead, such as numbers that are codes.
        monotone: attribute to 1 (more never hurts) or -1 (more never helps), for the trees.
        split: what the metrics are measured on; the most honest one possible when None.
        held_out: share of rows kept aside for the metrics.
        parameters: LightGBM's own, instead of ours.
        baseline: what scores items where no scorer serves; when None, or without items, the best attribute's rate.
    """

    threads: int = 1
    seed: int = 0
    features: Sequence[str] | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    monotone: Mapping[str, int] = field(default_factory=dict)
    split: Split | None = None
    held_out: float = 0.2
    parameters: Mapping[str, Any] = field(default_factory=dict)
    baseline: ItemRule | None = None


@dataclass(frozen=True)
class Table:
    """Rows with every role resolved; all arrays have n entries.

    Args:
        attributes: the frame that scorers read.
        label: numbers, or an object array of names.
        weight: float64.
        person: int64 places in `persons`, -1 for nobody.
        persons: names in the order they first sort.
        time: sortable; None without times.
        item: object array of text; None without items.
        question: int64; None without questions.
        item_name: the item's column in rows to score.
    """

    attributes: Frame
    label: Array
    weight: Floats
    person: Ints
    persons: tuple[str, ...]
    time: Array | None
    item: Array | None
    question: Ints | None
    item_name: str = "item"

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: Array) -> Table:
        """Copy the rows of a mask or index; persons keep their numbers."""
        return Table(
            self.attributes.take(rows),
            self.label[rows],
            self.weight[rows],
            self.person[rows],
            self.persons,
            None if self.time is None else self.time[rows],
            None if self.item is None else self.item[rows],
            None if self.question is None else self.question[rows],
            self.item_name,
        )

    @property
    def unit(self) -> Ints:
        """Number what must stay on one side of a split: persons if there are several, else questions, else rows."""
        if len(self.persons) > 1:
            alone = self.person.max(initial=0) + 1 + np.arange(len(self))
            return np.where(self.person >= 0, self.person, alone).astype(np.int64)
        return np.arange(len(self), dtype=np.int64) if self.question is None else self.question

    @property
    def window(self) -> tuple[str, str]:
        """Give the first and last time as text."""
        return ("", "") if self.time is None or not len(self) else (str(self.time.min()), str(self.time.max()))

    def person_names(self) -> list[str]:
        """Name each row's person, "" for nobody."""
        names = np.array([*self.persons, ""], dtype=object)
        return list(names[self.person])


def read_table(rows: Rows, roles: Roles, options: Options) -> Table:
    """Resolve the roles.

    Raises:
        RowsError: no rows, a column that is not there, of another length, or a weight that is not positive.
    """
    frame = as_frame(rows)
    if len(frame) == 0:
        raise RowsError("there are no rows to learn from")
    label = _values(frame, roles.label, "label")
    if label is None:
        raise RowsError("a label is needed: the name of a column, or its values")
    weight = _values(frame, roles.weight, "weight")
    persons, person = _numbered(_text(frame, roles.group, "group"))
    asked = _text(frame, roles.question, "question")
    used = [role for role in vars(roles).values() if isinstance(role, str)]
    attributes = frame.without(used)
    if options.features is not None:
        missing = set(options.features) - set(frame.columns)
        if missing:
            raise RowsError(f"no columns {sorted(missing)} among {frame.names}")
        attributes = Frame({name: frame.columns[name] for name in options.features})
    return Table(
        attributes,
        label,
        _weights(weight, len(frame)),
        np.broadcast_to(np.int64(-1), len(frame)) if person is None else person,
        persons,
        _values(frame, roles.time, "time"),
        _text(frame, roles.item, "item"),
        None if asked is None else np.unique(asked.astype(str), return_inverse=True)[1].astype(np.int64),
        roles.item if isinstance(roles.item, str) else "item",
    )


def _values(frame: Frame, column: Column, role: str) -> Array | None:
    if column is None:
        return None
    if isinstance(column, str):
        if column not in frame.columns:
            raise RowsError(f"no column {column!r} for the {role}; there are {frame.names}")
        return frame.columns[column]
    values = as_column(column)
    if len(values) != len(frame):
        raise RowsError(f"{len(values)} values for the {role} of {len(frame)} rows")
    return values


def _text(frame: Frame, column: Column, role: str) -> Array | None:
    values = _values(frame, column, role)
    return as_text(values) if values is not None and is_numeric(values) else values


def _numbered(names: Array | None) -> tuple[tuple[str, ...], Ints | None]:
    if names is None:
        return (), None
    known, place = np.unique(names.astype(str), return_inverse=True)
    persons = tuple(str(name) for name in known if name)
    shift = 1 if len(known) and known[0] == "" else 0  # "" sorts first
    return persons, (place - shift).astype(np.int64)


def _weights(weight: Array | None, rows: int) -> Floats:
    if weight is None:
        return np.broadcast_to(np.float64(1.0), rows)  # of no size, as for persons above: millions of rows cost nothing
    if not is_numeric(weight) or not np.all(weight > 0):
        raise RowsError("every weight must be a positive number")
    return weight.astype(np.float64)
