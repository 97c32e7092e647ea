"""From mixed attributes to numbers, the same on every machine and for every PYTHONHASHSEED.

Symbols: n rows, t columns for trees, d columns for the linear part.

Trees get numbers as they are, categories as codes, texts as presence of frequent words and two lengths. The linear part
gets standardised numbers, categories as one column a level, and the same words. Nothing here looks at the label, so
nothing here can leak it. A level or word that was not known at fitting is all zeros: the crowd's mean speaks for it.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from ml.errors import RowsError
from ml.frame import Array, Floats, Frame, as_text, is_numeric

Kind = Literal["numeric", "categorical", "text"]

MAX_LEVELS = 64  # levels of a category that get a column of their own; the rest share the mean
MAX_WORDS = 96  # words of a text that get a column; more slows trees without a gain on short prompts
RARE = 3  # a level or word seen less often than this is treated as unknown
COMMON_SHARE = 0.5  # a word in more than this share of the rows tells nothing
TEXT_WORDS = 3.0  # mean words a value from which on a column of many different strings is free text
CLIP = 4.0  # standard deviations at which the linear part stops believing a number

WORD = re.compile(r"[^\W_]+", re.UNICODE)


@dataclass(frozen=True)
class Attribute:
    """How one column is read.

    Args:
        name: the column's name.
        kind: numeric, categorical or text.
        levels: known categories or words, most frequent first, ties by spelling.
        mean: of a number; also stands in for an unknown one.
        scale: standard deviation of a number, at least a small positive number.
    """

    name: str
    kind: Kind
    levels: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0

    @property
    def linear_names(self) -> list[str]:
        """Name the columns this attribute has in the linear part."""
        return [self.name] if self.kind == "numeric" else [f"{self.name}={level}" for level in self.levels]

    @property
    def tree_names(self) -> list[str]:
        """Name the columns this attribute has for trees."""
        if self.kind == "text":
            return [*self.linear_names, f"{self.name}:words", f"{self.name}:characters"]
        return [self.name]


@dataclass(frozen=True)
class Encoder:
    """A fitted reading of the attributes; columns come in the order of `attributes`."""

    attributes: tuple[Attribute, ...]

    @classmethod
    def fit(cls, frame: Frame, kinds: dict[str, Kind] | None = None) -> Encoder:
        """Learn levels, words and scales from rows; `kinds` overrides what the values suggest."""
        asked = kinds or {}
        unknown = set(asked) - set(frame.columns)
        if unknown:
            raise RowsError(f"kinds for columns that are not there: {sorted(unknown)}")
        return cls(tuple(_learn(name, column, asked.get(name)) for name, column in frame.columns.items()))

    @property
    def linear_owners(self) -> list[str]:
        """Name the attribute behind each linear column."""
        return [attribute.name for attribute in self.attributes for _ in attribute.linear_names]

    @property
    def tree_owners(self) -> list[str]:
        """Name the attribute behind each tree column."""
        return [attribute.name for attribute in self.attributes for _ in attribute.tree_names]

    @property
    def tree_names(self) -> list[str]:
        """Name the tree columns."""
        return [name for attribute in self.attributes for name in attribute.tree_names]

    @property
    def categorical(self) -> list[int]:
        """Index the tree columns that are codes, not amounts."""
        kinds = [attribute.kind for attribute in self.attributes for _ in attribute.tree_names]
        return [j for j, kind in enumerate(kinds) if kind == "categorical"]

    @property
    def plain(self) -> bool:
        """Say whether all is numeric, so that a matrix can go to the trees as it stands."""
        return all(attribute.kind == "numeric" for attribute in self.attributes)

    def for_trees(self, frame: Frame) -> Array:
        """Encode for trees: shape (n, t), float32, NaN for unknown; the frame's own matrix when it already fits."""
        if self._fits(frame) and frame.matrix is not None:
            return frame.matrix
        out = np.empty((len(frame), len(self.tree_names)), dtype=np.float32)
        at = 0
        for attribute in self.attributes:
            width = len(attribute.tree_names)
            _fill_tree(out[:, at : at + width], attribute, _column(frame, attribute))
            at += width
        return out

    def for_linear(self, frame: Frame) -> Floats:
        """Encode for the linear part: shape (n, d), float64, no NaN."""
        if self._fits(frame) and frame.matrix is not None:
            return self._scaled(frame.matrix)
        out = np.zeros((len(frame), len(self.linear_owners)))
        at = 0
        for attribute in self.attributes:
            width = len(attribute.linear_names)
            _fill_linear(out[:, at : at + width], attribute, _column(frame, attribute))
            at += width
        return out

    def _fits(self, frame: Frame) -> bool:
        return self.plain and frame.matrix is not None and frame.names == [a.name for a in self.attributes]

    def _scaled(self, matrix: Array) -> Floats:
        """Standardise all columns at once: a hundred thousand rows in a tenth of the time that columns take."""
        out = matrix.astype(np.float64)
        out -= np.array([attribute.mean for attribute in self.attributes])
        out /= np.array([attribute.scale for attribute in self.attributes])
        np.nan_to_num(out, copy=False, nan=0.0)
        return np.asarray(np.clip(out, -CLIP, CLIP, out=out))

    def to_json(self) -> list[dict[str, Any]]:
        """Write the reading as JSON."""
        return [asdict(attribute) for attribute in self.attributes]

    @classmethod
    def from_json(cls, value: list[dict[str, Any]]) -> Encoder:
        """Read what `to_json` wrote."""
        return cls(tuple(Attribute(**{**item, "levels": tuple(item["levels"])}) for item in value))


def words_of(text: str) -> list[str]:
    """Split a text into lower-case words and numbers."""
    return WORD.findall(text.lower())


def codes_of(column: Array, levels: tuple[str, ...]) -> Array:
    """Find each value's number, its place in `levels`: shape (n,), int64, -1 for any other."""
    known = {level: j for j, level in enumerate(levels)}
    values, inverse = np.unique(column.astype(str), return_inverse=True)
    places = np.array([known.get(str(value), -1) for value in values], dtype=np.int64)
    return places[inverse] if len(values) else np.zeros(0, dtype=np.int64)


def _column(frame: Frame, attribute: Attribute) -> Array:
    column = frame.columns.get(attribute.name)
    if column is None:  # an attribute nobody gave is unknown in every row
        return np.full(len(frame), np.nan) if attribute.kind == "numeric" else as_text([""] * len(frame))
    if attribute.kind == "numeric":
        return column if is_numeric(column) else _numbers(column)
    return as_text(column) if is_numeric(column) else column


def _numbers(column: Array) -> Floats:
    out = np.full(len(column), np.nan)
    for row, value in enumerate(column):
        try:
            out[row] = float(value)
        except ValueError:
            continue  # a word where a number belongs is an unknown number
    return out


def _learn(name: str, column: Array, kind: Kind | None) -> Attribute:
    kind = kind or _guess(column)
    if kind == "numeric":
        values = column if is_numeric(column) else _numbers(column)
        if len(values) == 0 or np.isnan(values).all():
            return Attribute(name, kind)
        scale = float(np.nanstd(values, dtype=np.float64))
        return Attribute(name, kind, (), float(np.nanmean(values, dtype=np.float64)), max(scale, 1e-9))
    texts = as_text(column) if is_numeric(column) else column
    if kind == "categorical":
        return Attribute(name, kind, _frequent(Counter(texts.tolist()), MAX_LEVELS, RARE))
    counts = Counter(word for text in texts for word in set(words_of(text)))
    top = int(COMMON_SHARE * len(texts))
    kept = Counter({word: count for word, count in counts.items() if count <= max(top, RARE)})
    return Attribute(name, kind, _frequent(kept, MAX_WORDS, max(RARE, len(texts) // 500)))


def _guess(column: Array) -> Kind:
    if is_numeric(column):
        return "numeric"
    known = [text for text in column[:5_000].tolist() if text]
    if not known:
        return "categorical"
    mean_words = sum(len(words_of(text)) for text in known) / len(known)
    many = len(set(known)) > max(20, len(known) // 20)
    return "text" if many and mean_words >= TEXT_WORDS else "categorical"


def _frequent(counts: Counter[str], most: int, least: int) -> tuple[str, ...]:
    counts.pop("", None)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(value for value, count in ordered[:most] if count >= least)


def _fill_linear(out: Floats, attribute: Attribute, column: Array) -> None:
    if attribute.kind == "numeric":
        scaled = (column.astype(np.float64) - attribute.mean) / attribute.scale
        out[:, 0] = np.clip(np.nan_to_num(scaled, nan=0.0), -CLIP, CLIP)
    elif attribute.kind == "categorical":
        codes = codes_of(column, attribute.levels)
        known = np.flatnonzero(codes >= 0)
        out[known, codes[known]] = 1.0
    else:
        _mark_words(out, attribute.levels, column)


def _fill_tree(out: Array, attribute: Attribute, column: Array) -> None:
    if attribute.kind == "numeric":
        out[:, 0] = column
    elif attribute.kind == "categorical":
        codes = codes_of(column, attribute.levels).astype(np.float32)
        out[:, 0] = np.where(codes < 0, np.nan, codes)
    else:
        out[:] = 0.0
        _mark_words(out[:, :-2], attribute.levels, column)
        out[:, -2] = [len(words_of(text)) for text in column]
        out[:, -1] = [len(text) for text in column]


def _mark_words(out: Array, levels: tuple[str, ...], column: Array) -> None:
    places = {word: j for j, word in enumerate(levels)}
    for row, text in enumerate(column):
        for word in words_of(text):
            place = places.get(word)
            if place is not None:
                out[row, place] = 1.0
