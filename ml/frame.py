"""A light table: named columns of one length.

Symbols: n rows, f columns. A numeric column is float32 or float64 with NaN for "unknown"; any other is an object
array of str with "" for "unknown".
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ml.errors import RowsError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rows = Any  # Frame | path of a .csv or .csv.gz | mapping of columns | sequence of mappings | NumPy matrix

HASHED_ROWS = 2_000  # rows of a column that enter its fingerprint: enough to tell data apart, cheap for millions


@dataclass(frozen=True)
class Frame:
    """Columns of one length; `matrix`, when given, is what the columns are views of.

    Args:
        columns: name to array of shape (n,), in the order of the file.
        matrix: shape (n, f), float32 or float64, C order, columns in the order of `columns`; None when mixed.
    """

    columns: Mapping[str, Array]
    matrix: Array | None = None

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    @property
    def names(self) -> list[str]:
        """List the columns' names."""
        return list(self.columns)

    def take(self, index: Array | slice) -> Frame:
        """Copy the rows of an index or mask, in its order; a slice copies nothing."""
        if self.matrix is not None:  # whole rows at once: ten times as fast as column by column
            return as_frame_of(self.matrix[index], self.names)
        return Frame({name: column[index] for name, column in self.columns.items()})

    def without(self, names: Iterable[str]) -> Frame:
        """Leave columns out; no data are copied."""
        dropped = set(names) & set(self.columns)
        if not dropped:
            return self
        return Frame({name: column for name, column in self.columns.items() if name not in dropped})

    def fingerprint(self) -> str:
        """Hash names, length and an even sample of every column; equal data give equal text on every machine."""
        digest = hashlib.blake2b(digest_size=16)
        step = max(1, len(self) // HASHED_ROWS)
        for name, column in self.columns.items():
            sample = column[::step]
            digest.update(f"{name}:{len(column)}:".encode())
            if is_numeric(sample):
                digest.update(np.ascontiguousarray(sample, dtype="<f8").tobytes())
            else:
                digest.update("\x1f".join(sample.tolist()).encode())
        return digest.hexdigest()


def is_numeric(column: Array) -> bool:
    """Tell whether a column of a Frame holds numbers."""
    return bool(column.dtype.kind == "f")


def as_frame(rows: Rows) -> Frame:
    """Read rows of any accepted form.

    Args:
        rows: a Frame, the path of a .csv or .csv.gz with a header, a mapping of names to columns, a sequence of
            mappings (a key that is absent somewhere is unknown there), or a matrix of shape (n, f), whose columns
            become f0, f1, …

    Raises:
        RowsError: an unknown form, or columns of different length.
    """
    if isinstance(rows, Frame):
        return rows
    if isinstance(rows, str | Path):
        return _read_csv(Path(rows))
    if isinstance(rows, np.ndarray) and rows.ndim == 2:  # noqa: PLR2004 - a matrix has two axes
        matrix = rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64)
        return as_frame_of(matrix, [f"f{j}" for j in range(matrix.shape[1])])
    if isinstance(rows, Mapping):
        return _checked({str(name): as_column(values) for name, values in rows.items()})
    if isinstance(rows, Sequence):
        names = list(dict.fromkeys(name for row in rows for name in row))
        return _checked({name: as_column([row.get(name) for row in rows]) for name in names})
    raise RowsError(f"rows of type {type(rows).__name__}: give a mapping of columns, records, a matrix or a CSV path")


def as_frame_of(matrix: Array, names: Sequence[str]) -> Frame:
    """Name the columns of a matrix, shape (n, f), float32 or float64; nothing is copied."""
    return Frame({name: matrix[:, j] for j, name in enumerate(names)}, matrix)


def as_column(values: Any) -> Array:
    """Make a column: of numbers if every known value is one, of text otherwise."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
    if isinstance(values, np.ndarray) and values.dtype.kind == "O" and all(isinstance(value, str) for value in values):
        return values  # a column of text that was made as one, even if all of it looks like numbers
    items = list(values)
    try:
        numbers = [math.nan if _unknown(item) else float(item) for item in items]
    except (TypeError, ValueError):
        return as_text(items)
    return np.array(numbers, dtype=np.float64)


def as_text(values: Iterable[Any]) -> Array:
    """Make a column of text; unknown becomes "", and a whole number loses its point, so that 3.0 and 3 are one."""
    out = [_spell(value) for value in values]
    column = np.empty(len(out), dtype=object)
    column[:] = out
    return column


def _spell(value: Any) -> str:
    if _unknown(value):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def _unknown(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, float | np.floating) and math.isnan(value))


def _checked(columns: dict[str, Array]) -> Frame:
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise RowsError(f"columns of different length: {lengths}")
    return Frame(columns)


def _read_csv(path: Path) -> Frame:
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        reader = csv.reader(io.StringIO(data.decode("utf-8"), newline=""))
        names = next(reader, [])
        lines = list(reader)
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise RowsError(f"{path.name} is not a readable CSV: {error}") from error
    if any(len(line) != len(names) for line in lines):
        raise RowsError(f"{path.name} has lines of another length than its header of {len(names)} columns")
    return _checked({name: as_column([line[j] for line in lines]) for j, name in enumerate(names)})
