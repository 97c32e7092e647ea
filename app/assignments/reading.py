"""Read persons from a table in CSV, as spreadsheets write it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from app.errors import InvalidError, MalformedError

COLUMNS = (
    "id",
    "nombre",
    "genero",
    "es_siervo",
    "can_president",
    "can_pray",
    "can_conduct",
    "can_read",
    "metadata",
)
"""The header's names; all but the first three may be left out."""

_NEEDED = set(COLUMNS[:3])
_FLAGS = {"es_siervo", "can_president", "can_pray", "can_conduct", "can_read"}
_WORDS = {"sí": True, "si": True, "x": True, "": False}  # what people put into a yes-or-no column


def read_persons_csv(raw: bytes) -> list[dict[str, Any]]:
    """Turn a table into what the JSON body would hold; empty cells are left out.

    Args:
        raw: UTF-8, with or without a byte order mark; columns divided by commas or semicolons, `metadata` as JSON.

    Raises:
        MalformedError: it is no table of text.
        InvalidError: the header or a row does not fit, each by its number.
    """
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MalformedError("The table is not UTF-8.", code="malformed_csv") from None
    if "\x00" in text:
        raise MalformedError("The table holds a NUL character, which cannot be stored.", code="malformed_csv")
    first = text.partition("\n")[0]
    delimiter = ";" if ";" in first and "," not in first else ","
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise MalformedError(f"The table cannot be read: {error}.", code="malformed_csv") from None
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    if not filled:
        return []
    header = _read_header(filled[0])
    return [_read_row(number, header, row) for number, row in enumerate(filled[1:])]


def _read_header(row: list[str]) -> list[str]:
    names = [name.strip() for name in row]
    unknown = sorted(set(names) - set(COLUMNS))
    missing = sorted(_NEEDED - set(names))
    problems = [f"There is no column {name[:40]!r}." for name in unknown]
    problems += [f"The column {name!r} is missing." for name in missing]
    if len(set(names)) < len(names):
        problems.append("A column is there twice.")
    if problems:
        raise InvalidError(errors={"header": problems})
    return names


def _read_row(number: int, header: list[str], row: list[str]) -> dict[str, Any]:
    if len(row) != len(header):
        message = f"Has {len(row)} cells where the header has {len(header)}."
        raise InvalidError(errors={f"persons.{number}": [message]})
    person: dict[str, Any] = {}
    for name, cell in zip(header, (cell.strip() for cell in row), strict=True):
        if name in _FLAGS:
            person[name] = _WORDS.get(cell.casefold(), cell)
        elif name == "metadata":
            person[name] = _read_metadata(number, cell)
        elif cell:
            person[name] = cell
    return person


def _read_metadata(number: int, cell: str) -> Any:
    if not cell:
        return None
    try:
        return json.loads(cell, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise InvalidError(errors={f"persons.{number}.metadata": ["Must be a JSON object."]}) from None


def _refuse(name: str) -> Any:
    raise ValueError(name)
