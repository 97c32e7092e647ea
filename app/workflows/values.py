"""Take JSON values from outside: copied, bounded, and such as the database can keep and give back.

jsonb has no NUL and no half of a surrogate pair, JSON no NaN and no infinity; and jsonb keeps every number in
decimal, so that 1e300 comes back as a whole number of 301 digits, which our JSON writer refuses. So numbers keep within
64 bits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from app.workflows.limits import Limits
from app.workflows.places import DOCUMENT, Problems, inside, shown

_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_NUMBER_BOUND: Final = 2**63


class ValueReader:
    """Copy values of one document, under bounds that hold for all of them together.

    Args:
        problems: where what is wrong is noted.
        limits: the bounds.
    """

    def __init__(self, problems: Problems, limits: Limits) -> None:
        self._problems = problems
        self._limits = limits
        self._values_left = limits.max_values
        self._characters_left = limits.max_characters
        self._path: list[str | int] = []
        self._place = ""

    def read(self, value: Any, place: str) -> Any:
        """Copy one value.

        Args:
            value: anything; tuples are taken for lists.
            place: its place in the document.

        Returns:
            Plain objects, lists, texts, numbers, true, false and null. Where something was wrong, and noted, null
            stands in its stead.
        """
        self._place = place
        return self._any(value)

    def _any(self, value: Any) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int | float):
            return self._number(value)
        if isinstance(value, dict | list | tuple):
            return self._container(value)
        self._refuse(f"Is not JSON but {type(value).__name__}.")
        return None

    def _text(self, text: str) -> str | None:
        self._characters_left -= len(text)
        if self._characters_left < 0:
            self._refuse_rest(f"All texts together are over {self._limits.max_characters} characters.")
            return None
        if _UNSTORABLE.search(text):
            self._refuse("Holds a NUL character or half of a surrogate pair, which cannot be stored.")
            return None
        return str(text)

    def _number(self, number: float) -> float | None:
        if -_NUMBER_BOUND <= number < _NUMBER_BOUND:  # False for NaN too
            return number
        self._refuse("Must be a finite number within 64 bits; write a larger one as a text.")
        return None

    def _container(self, value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Any:
        if len(self._path) >= self._limits.max_depth:
            self._refuse(f"Is nested deeper than {self._limits.max_depth} levels.")
            return None
        self._values_left -= len(value)
        if self._values_left < 0:
            self._refuse_rest(f"The document holds more than {self._limits.max_values} values.")
            return None
        if isinstance(value, dict):
            return {key: self._entry(key, item) for key, item in value.items() if self._is_key(key)}
        return [self._entry(position, item) for position, item in enumerate(value)]

    def _entry(self, key: str | int, item: Any) -> Any:
        if self._problems.full:
            return None
        self._path.append(key)
        try:
            return self._any(item)
        finally:
            self._path.pop()

    def _is_key(self, key: Any) -> bool:
        if not isinstance(key, str):
            self._refuse(f"Names must be texts, not {shown(key)}.")
            return False
        self._characters_left -= len(key)
        if len(key) > self._limits.max_key_characters or _UNSTORABLE.search(key):
            limit = self._limits.max_key_characters
            self._refuse(f"The name {shown(key)} is over {limit} characters or holds some that cannot be stored.")
            return False
        return True

    def _refuse_rest(self, message: str) -> None:
        # The rest would say the same; what is spent stays spent, so nothing more is copied either.
        self._values_left = self._characters_left = -1
        if not self._problems.has(DOCUMENT):
            self._problems.add(DOCUMENT, message)

    def _refuse(self, message: str) -> None:
        place = self._place
        for key in self._path:
            place = inside(place, key)
        self._problems.add(place, message)


def whole_number(value: Any, low: int, high: int) -> int | None:
    """Read a whole number; true is none, and 3.0 is 3 as in JSON."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    return int(value) if value == int(value) else None


def number(value: Any, low: float, high: float) -> float | None:
    """Read a number from `low` to `high`; true is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        return None
    return value


def texts(value: Any) -> list[str] | None:
    """Read a list of texts without repeats, in its order; anything else is none."""
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return list(dict.fromkeys(value))


def given(raw: dict[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Leave out what is null or an empty text; callers' tools send those for fields nobody filled in."""
    return {key: raw[key] for key in keys if raw.get(key) is not None and raw[key] != ""}
