"""Collect what is wrong with a document, each problem at its place (`workflow[1].tasks[0].model`).

Places and messages go back to the caller as JSON, so whatever is quoted in them is short and plain ASCII, also
when the document holds names of a megabyte, NUL or half an emoji.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection
from typing import Any

from app.errors import DocumentInvalidError

_SHOWN_CHARACTERS = 40  # enough to recognise a value by, short enough for a hundred problems in one answer
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
DOCUMENT = "document"
"""The place of what is true of the whole."""


class Problems:
    """What was found so far, by place, in the order it was found.

    Args:
        limit: problems kept; those beyond it are only counted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._found: dict[str, list[str]] = {}
        self.count = 0

    def add(self, place: str, message: str) -> None:
        """Note one problem."""
        self.count += 1
        if self.count <= self._limit:
            self._found.setdefault(place, []).append(message)

    def has(self, place: str) -> bool:
        """Whether something was noted for exactly this place."""
        return place in self._found

    @property
    def full(self) -> bool:
        """Whether looking further would find nothing that is shown."""
        return self.count >= self._limit

    def raise_if_any(self) -> None:
        """Refuse the document when anything was noted.

        Raises:
            DocumentInvalidError: with every problem kept.
        """
        if not self.count:
            return
        errors = {place: list(messages) for place, messages in self._found.items()}
        if self.full:
            errors.setdefault(DOCUMENT, []).append(
                f"Only the first {self._limit} problems are listed; there may be more."
            )
        summary = "The workflow has a problem." if self.count == 1 else "The workflow has several problems."
        raise DocumentInvalidError(f"{summary} `errors` names each place.", errors=errors)


def inside(place: str, key: str | int) -> str:
    """Name the place of an entry in the object or list at `place`."""
    if isinstance(key, int):
        return f"{place}[{key}]"
    if _PLAIN_KEY.fullmatch(key):
        return f"{place}.{key}"
    return f"{place}[{_quoted(key)}]"


def kind_of(value: Any) -> str:
    """Name the JSON kind of a value for a person."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    for kinds, name in (((int, float), "a number"), (str, "a text"), (list, "a list"), (dict, "an object")):
        if isinstance(value, kinds):
            return name
    return "not JSON"


def shown(value: Any) -> str:
    """Quote a value in a message, or name its kind where the value itself would be long."""
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, bool | float):
        return json.dumps(value)
    if isinstance(value, int):
        # str() of an integer of more than 4300 digits raises.
        return str(value) if value.bit_length() <= 64 else "a number of more than 64 bits"  # noqa: PLR2004
    return kind_of(value)


def unknown_name(kind: str, name: str, known: Collection[str]) -> str:
    """Say that a name is not known, with the nearest one that is."""
    near = difflib.get_close_matches(name[:_SHOWN_CHARACTERS], known, n=1)
    hint = f" Did you mean {_quoted(near[0])}?" if near else ""
    return f"There is no {kind} {_quoted(name)}.{hint}"


def _quoted(text: str) -> str:
    return json.dumps(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")
