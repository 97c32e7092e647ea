"""Sparse features for choosing among many names: levels, pairs of levels, numbers, hashed words.

Symbols: n rows, s sparse columns.

Words and pairs of neighbouring words are hashed with CRC-32, which is the same on every machine and start; Python's own
hash() is not.
"""

from __future__ import annotations

import itertools
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from ml.encoding import CLIP, Attribute, Encoder, Kind, words_of
from ml.frame import Array, Floats, Frame, as_text, is_numeric

RARE = 3  # a level, or pair of levels, seen less often has no column
PAIRED = 4  # columns whose pairs get columns: those that tell most of the label
BUCKETS = 1 << 14  # of hashed words; prompts of a product have a few thousand words
NEUTRAL = "\x1f"  # joins the values of a pair; cannot be typed


@dataclass(frozen=True)
class Traits:
    """A fitted sparse encoding.

    Args:
        attributes: how each column is read; only kind, mean and scale matter here.
        pairs: names of columns that also count together.
        levels: by column or joined pair: value to sparse column.
        buckets: 0 without text columns.
    """

    attributes: tuple[Attribute, ...]
    pairs: tuple[tuple[str, str], ...]
    levels: dict[str, dict[str, int]]
    buckets: int

    @property
    def width(self) -> int:
        """Count the sparse columns."""
        numbers = 2 * sum(attribute.kind == "numeric" for attribute in self.attributes)
        lengths = 2 * sum(attribute.kind == "text" for attribute in self.attributes)
        return sum(map(len, self.levels.values())) + self.buckets + numbers + lengths

    @property
    def owners(self) -> list[str]:
        """Name what stands behind each sparse column."""
        out = [name.replace(NEUTRAL, " & ") for name, levels in self.levels.items() for _ in levels]
        out += ["(words)"] * self.buckets
        for attribute in self.attributes:
            if attribute.kind != "categorical":
                out += [attribute.name] * 2
        return out

    @classmethod
    def fit(cls, frame: Frame, label: Array, kinds: dict[str, Kind]) -> Traits:
        """Learn levels and pick the pairs of columns that tell most of the label: shape (n,), places of names."""
        attributes = Encoder.fit(frame, kinds).attributes
        categories = [a.name for a in attributes if a.kind == "categorical"]
        texts = {name: _text(frame, name) for name in categories}
        telling = sorted(categories, key=lambda name: (-_information(texts[name], label), name))[:PAIRED]
        pairs = tuple(itertools.combinations(sorted(telling), 2))
        levels: dict[str, dict[str, int]] = {}
        at = 0
        for key in [*categories, *(NEUTRAL.join(pair) for pair in pairs)]:
            counts = Counter(_joined(frame, key).tolist())
            known = sorted(value for value, count in counts.items() if count >= RARE and value.strip(NEUTRAL))
            levels[key] = {value: at + j for j, value in enumerate(known)}
            at += len(known)
        return cls(attributes, pairs, levels, BUCKETS if any(a.kind == "text" for a in attributes) else 0)

    def matrix(self, frame: Frame) -> sp.csr_matrix:
        """Encode rows: shape (n, s), float32."""
        blocks = [sp.csr_matrix((len(frame), 0), dtype=np.float32)]
        for key, levels in self.levels.items():
            values = _joined(frame, key)
            places = np.array([levels.get(value, -1) for value in values], dtype=np.int64)
            known = np.flatnonzero(places >= 0)
            start = min(levels.values(), default=0)
            cells = (np.ones(len(known), np.float32), (known, places[known] - start))
            blocks.append(sp.csr_matrix(cells, shape=(len(frame), len(levels))))
        texts = [a.name for a in self.attributes if a.kind == "text"]
        if self.buckets:
            blocks.append(
                sum(
                    (_hashed(_text(frame, name), self.buckets) for name in texts[1:]),
                    _hashed(_text(frame, texts[0]), self.buckets),
                )
            )
        amounts = [attribute for attribute in self.attributes if attribute.kind != "categorical"]
        blocks.extend(sp.csr_matrix(_amounts(attribute, frame)) for attribute in amounts)
        return sp.hstack(blocks, format="csr", dtype=np.float32)

    def to_json(self) -> dict[str, Any]:
        """Write the encoding as JSON."""
        return {
            "attributes": Encoder(self.attributes).to_json(),
            "pairs": [list(pair) for pair in self.pairs],
            "levels": [[key, list(levels)] for key, levels in self.levels.items()],
            "buckets": self.buckets,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Traits:
        """Read what `to_json` wrote."""
        levels: dict[str, dict[str, int]] = {}
        at = 0
        for key, known in value["levels"]:
            levels[key] = {name: at + j for j, name in enumerate(known)}
            at += len(known)
        pairs = tuple((str(a), str(b)) for a, b in value["pairs"])
        return cls(Encoder.from_json(value["attributes"]).attributes, pairs, levels, int(value["buckets"]))


def _text(frame: Frame, name: str) -> Array:
    column = frame.columns.get(name)
    if column is None:
        return as_text([""] * len(frame))
    return as_text(column) if is_numeric(column) else column


def _joined(frame: Frame, key: str) -> Array:
    columns = [_text(frame, name) for name in key.split(NEUTRAL)]
    if len(columns) == 1:
        return columns[0]
    return as_text([NEUTRAL.join(values) for values in zip(*columns, strict=True)])


def _information(column: Array, label: Array) -> float:
    """Give the mutual information of a column and the label in nats, less what chance alone would show."""
    _, a = np.unique(column.astype(str), return_inverse=True)
    _, b = np.unique(label, return_inverse=True)
    rows, columns = int(a.max()) + 1, int(b.max()) + 1
    cells, joint = np.unique(a.astype(np.int64) * columns + b, return_counts=True)
    p = joint / len(a)
    pa = np.bincount(a, minlength=rows) / len(a)
    pb = np.bincount(b, minlength=columns) / len(a)
    found = float((p * np.log(p / (pa[cells // columns] * pb[cells % columns]))).sum())
    return found - (len(cells) - rows - columns + 1) / (2 * len(a))


def _hashed(texts: Array, buckets: int) -> sp.csr_matrix:
    indices: list[int] = []
    data: list[float] = []
    bounds = [0]
    for text in texts:
        words = words_of(text)
        grams = {*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))}
        places = sorted({zlib.crc32(gram.encode()) % buckets for gram in grams})
        indices += places
        data += [float(1 / np.sqrt(max(4, len(places))) * 2)] * len(places)  # long texts do not outvote short ones
        bounds.append(len(indices))
    return sp.csr_matrix((np.array(data, np.float32), indices, bounds), shape=(len(texts), buckets))


def _amounts(attribute: Attribute, frame: Frame) -> Floats:
    if attribute.kind == "numeric":
        column = frame.columns.get(attribute.name)
        values = np.full(len(frame), np.nan) if column is None or not is_numeric(column) else column
        scaled = np.clip(np.nan_to_num((values - attribute.mean) / attribute.scale), -CLIP, CLIP)
        return np.column_stack([scaled, scaled**2 / CLIP])
    texts = _text(frame, attribute.name)
    length = np.log1p([len(text) for text in texts]) / 3 - 1.5  # about -1..1 from a word to a page
    return np.column_stack([length, length**2])
