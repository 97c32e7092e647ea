"""Apply a stranger's JSON schema to a stranger's value, in bounded time.

What JSON Schema allows can take for ever: patterns on which Python's engine backtracks, references that double at
every level, comparisons of all with all. So each keyword's work is counted, and what cannot be bounded is not applied.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import create
from referencing import Registry as References

MOST_WORK = 200_000  # keywords applied, and entries of theirs looked at; about half a second
VALUE_SHARE = 1_000  # characters or entries of a value that count as one keyword
NOT_APPLIED = frozenset(
    {"pattern", "patternProperties", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "format"}
)

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


class TooMuchWorkError(Exception):
    """A schema whose application takes too long; says so in words."""


def iterate_errors(schema: Mapping[str, Any], value: Any) -> Iterator[ValidationError]:
    """Give what is wrong with a value, as it is found.

    Raises:
        TooMuchWorkError: applying the schema takes longer than anybody shall wait for.
        Unresolvable: a reference to a part that is missing.
        RecursionError: a part that consists of itself.
    """
    _work.set([MOST_WORK])
    yield from _Validator(_without_dialects(schema), registry=References()).iter_errors(value)


_work: ContextVar[list[int]] = ContextVar("work")


def _counted(keyword: Keyword) -> Any:
    def apply(validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
        left = _work.get()
        left[0] -= 1 + (len(wanted) if isinstance(wanted, list | dict) else 0)
        # What is wrong is said with the value in it, for each alternative anew.
        left[0] -= len(value) // VALUE_SHARE if isinstance(value, str | list | dict) else 0
        if left[0] < 0:
            raise TooMuchWorkError("it takes too long")
        yield from keyword(validator, wanted, value, schema) or ()

    return apply


def _refuse_others(validator: Any, wanted: Any, value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    """Apply `additionalProperties`; the library's own would search by the schema's patterns."""
    if not isinstance(value, dict) or "patternProperties" in schema:
        return
    others = [key for key in value if key not in schema.get("properties", {})]
    if wanted is False and others:
        yield ValidationError(f"Additional properties are not allowed: {', '.join(map(repr, others))}")
    elif isinstance(wanted, dict):
        for key in others:
            yield from validator.descend(value[key], wanted, path=key)


def _want_unique(_: Any, wanted: Any, value: Any, __: Mapping[str, Any]) -> Iterator[ValidationError]:
    """Apply `uniqueItems` in one pass; the library's own compares all with all."""
    if wanted and isinstance(value, list):
        seen = {json.dumps(item, sort_keys=True) for item in value}
        if len(seen) < len(value):
            yield ValidationError("its items are not all different")


def _without_dialects(value: Any) -> Any:
    """Copy a schema without `$schema`: the library would apply the keywords of whatever dialect a part names."""
    if isinstance(value, list):
        return [_without_dialects(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    kept = ((key, item) for key, item in value.items() if key != "$schema" or not isinstance(item, str))
    return {key: _without_dialects(item) for key, item in kept}


_KEYWORDS = {
    **{key: call for key, call in Draft202012Validator.VALIDATORS.items() if key not in NOT_APPLIED},
    "additionalProperties": _refuse_others,
    "uniqueItems": _want_unique,
}
_Validator: Any = create(
    meta_schema=Draft202012Validator.META_SCHEMA,
    validators={key: _counted(call) for key, call in _KEYWORDS.items()},
    type_checker=Draft202012Validator.TYPE_CHECKER,
)
