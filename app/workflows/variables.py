"""Placeholders: `{name}`, `{name.key}`, `{name.0}`.

A placeholder is `{`, a path, `}`, with nothing else between. A path is words joined by dots; a word is letters and
digits of any script, `_` and `-`, and may hold single blanks inside (`{product name}`, as callers' documents do). So
the braces of JSON, CSS or code in a prompt are hardly ever placeholders (they hold quotes, colons, line ends), and
what looks like one but names nothing stays as it is. There is no escape.

Values are put in once and never looked at again: a user's text that holds `{other}` cannot reach a variable.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from app.errors import FatalError

LOOP_NAMES: Final = frozenset({"item", "index"})
"""What a `for_each` adds to the scope of its items."""

MAX_RENDERED_CHARACTERS: Final = 8_000_000
"""Twice the largest context a model takes. A prompt of 200,000 characters can hold 66,000 placeholders: without a
bound, one variable of a megabyte would become 66 GB in a worker that others share."""

_WORD: Final = r"[\w-]++(?: [\w-]++)*+"
_PATH: Final = rf"{_WORD}(?:\.{_WORD})*+"
# Possessive quantifiers: a text full of braces costs one look at each character, never a search.
_PLACEHOLDER: Final = re.compile(rf"\{{({_PATH})\}}")
_NAME: Final = re.compile(_WORD)
_PATH_ONLY: Final = re.compile(_PATH)
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,8}")  # bounded: int() of 5000 digits raises
_COMPACT: Final = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"), default=str)


class _Missing:
    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()
"""What `lookup` answers for a path that leads nowhere; null is a value."""


def is_name(text: str) -> bool:
    """Tell whether a variable of this name can be written as a placeholder."""
    return _NAME.fullmatch(text) is not None


def is_path(text: str) -> bool:
    """Tell whether a text is what may stand between the braces."""
    return _PATH_ONLY.fullmatch(text) is not None


def is_placeholder(text: str) -> bool:
    """Tell whether a text is one placeholder and nothing else, so that it becomes the value itself."""
    return _PLACEHOLDER.fullmatch(text) is not None


def root_of(path: str) -> str:
    """Name the variable a path starts at."""
    return path.partition(".")[0]


def lookup(path: str, scope: Mapping[str, Any]) -> Any:
    """Follow a path.

    Args:
        path: as between the braces; a number picks from a list (from 0), or is a key of an object.
        scope: variables by name.

    Returns:
        The value; null for a path into null (the output of a step that was skipped has no parts, and is known to
        have none); `MISSING` where nothing is.
    """
    root, dot, rest = path.partition(".")
    try:
        value = scope[root]
    except KeyError:
        return MISSING
    return _descend(value, rest.split(".")) if dot else value


def _descend(value: Any, words: list[str]) -> Any:
    for word in words:
        if value is None:
            return None
        if isinstance(value, dict) and word in value:
            value = value[word]
        elif isinstance(value, list) and _INDEX.fullmatch(word) and int(word) < len(value):
            value = value[int(word)]
        else:
            return MISSING
    return value


def names_in(value: Any) -> frozenset[str]:
    """Collect the variables whose placeholders stand in a value, keys of objects excepted (they are never rendered)."""
    return frozenset(root_of(path) for text in _texts_in(value) for path in _PLACEHOLDER.findall(text))


def _texts_in(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            if "{" in part:
                yield part
        elif isinstance(part, dict):
            pending.extend(part.values())
        elif isinstance(part, list):
            pending.extend(part)


def render(value: Any, scope: Mapping[str, Any], *, max_characters: int = MAX_RENDERED_CHARACTERS) -> Any:
    """Put variables in the place of their placeholders, in one pass.

    Args:
        value: part of a parsed document, so not nested deeper than `Limits.max_depth`.
        scope: variables by name.
        max_characters: how much may be put in, counted as text; the first use of a variable as a value is not.

    Returns:
        The value with a text that is only a placeholder replaced by the variable itself, and with the variable's text
        inside other texts. Parts without placeholders, and variables, are the same objects, not copies: treat the
        answer as read-only.

    Raises:
        FatalError: the result would be over `max_characters` (`rendered_too_large`), or a variable cannot be written
            as text, being nested too deep (`unrenderable`).
    """
    if isinstance(value, str):
        return _Rendering(scope, max_characters).text(value) if "{" in value else value
    if isinstance(value, dict | list):
        return _Rendering(scope, max_characters).value(value)
    return value


def text_of(value: Any) -> str:
    """Write a variable as it stands inside a text: itself, nothing for null, compact JSON for all else.

    Raises:
        FatalError: nested deeper, or a number longer, than Python can write.
    """
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    try:
        return _COMPACT.encode(value)
    except (RecursionError, ValueError, TypeError) as error:
        raise FatalError(
            f"A variable cannot be written into a text ({type(error).__name__}); pass a part of it.",
            code="unrenderable",
        ) from error


class _Rendering:
    """One pass over one value; it remembers texts, so that a variable used often is written once."""

    def __init__(self, scope: Mapping[str, Any], max_characters: int) -> None:
        self._scope = scope
        self._max = max_characters
        self._used = 0
        self._given: set[str] = set()
        self._texts: dict[str, str] = {}

    def value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.text(value) if "{" in value else value
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list):
            return self._array(value)
        return value

    def text(self, text: str) -> Any:
        whole = _PLACEHOLDER.fullmatch(text)
        if whole is None:
            return _PLACEHOLDER.sub(self._replacement, text)
        found = lookup(whole[1], self._scope)
        if found is MISSING:
            return text
        self._charge_value(whole[1], found)
        return found

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        changed = None
        for key, item in value.items():
            new = self.value(item)
            if new is not item:
                changed = dict(value) if changed is None else changed
                changed[key] = new
        return value if changed is None else changed

    def _array(self, value: list[Any]) -> list[Any]:
        changed = None
        for position, item in enumerate(value):
            new = self.value(item)
            if new is not item:
                changed = list(value) if changed is None else changed
                changed[position] = new
        return value if changed is None else changed

    def _replacement(self, match: re.Match[str]) -> str:
        path = match[1]
        found = lookup(path, self._scope)
        if found is MISSING:
            return match[0]
        text = self._text_at(path, found)
        self._charge(len(text))
        return text

    def _text_at(self, path: str, value: Any) -> str:
        text = self._texts.get(path)
        if text is None:
            text = self._texts[path] = text_of(value)
        return text

    def _charge_value(self, path: str, value: Any) -> None:
        # Once, it is there anyway and measuring it would cost as much as writing it; a second time it multiplies.
        root = root_of(path)
        if root in self._given:
            self._charge(len(self._text_at(path, value)))
        self._given.add(root)

    def _charge(self, characters: int) -> None:
        self._used += characters
        if self._used > self._max:
            raise FatalError(
                f"With its variables put in, the step is over {self._max} characters; use fewer or smaller ones.",
                code="rendered_too_large",
            )
