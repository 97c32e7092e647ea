"""Structured answers: check a caller's schema, read an answer by it, and say in words what is wrong."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable

from app.gateway.schema_checks import TooMuchWorkError, iterate_errors

MOST_SCHEMA_BYTES = 65_536
MOST_SCHEMA_DEPTH = 32
MOST_COMPLAINTS = 5
MOST_COMPLAINT_CHARACTERS = 300
MOST_ERRORS = 100  # looked at, to show those first that stand first in the answer
FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n\s*```", re.DOTALL)
UNCHECKED = ("patternProperties", "unevaluatedProperties", "unevaluatedItems", "$dynamicRef")
"""What no vendor takes and we do not apply. `pattern` they take, and check themselves."""
SAMPLES: tuple[Any, ...] = ({}, [], "", 0, None)


def schema_problem(schema: Any) -> str:
    """Say why something cannot be used as a response schema; empty when it can.

    References may point within the schema only: nothing is ever fetched.
    """
    if not isinstance(schema, Mapping):
        return "must be a JSON schema (an object)"
    checks = (_find_excess, _find_nonsense, _find_unsupported, _find_endless)
    return next(filter(None, (check(schema) for check in checks)), "")


def read_structured(text: str, schema: Mapping[str, Any]) -> tuple[Any, str]:
    """Read an answer.

    Args:
        text: what the model said; a fenced block, or words around one JSON object, are forgiven.
        schema: passed `schema_problem`.

    Returns:
        The value and an empty complaint, or None and a complaint a model can act on.
    """
    try:
        value = _parse(text)
    except ValueError as error:
        return None, f"it is not JSON: {error}"
    except RecursionError:
        return None, "it is not JSON: it is nested too deeply"
    try:
        problems = sorted(
            itertools.islice(iterate_errors(schema, value), MOST_ERRORS),
            key=lambda one: list(map(str, one.absolute_path)),
        )
        complaints = [
            f"{one.json_path}: {one.message[:MOST_COMPLAINT_CHARACTERS]}" for one in problems[:MOST_COMPLAINTS]
        ]
    except (Unresolvable, RecursionError, TooMuchWorkError) as error:
        return None, f"the schema cannot be applied: {_reason(error)}"
    return (None, "; ".join(complaints)) if complaints else (value, "")


def is_strict(schema: Any) -> bool:
    """Say whether the vendors' strict mode takes a schema: every object closed, every property required."""
    if isinstance(schema, list):
        return all(is_strict(item) for item in schema)
    if not isinstance(schema, Mapping):
        return True
    if (schema.get("type") == "object" or "properties" in schema) and (
        schema.get("additionalProperties") is not False
        or set(schema.get("required", ())) != set(schema.get("properties", ()))
    ):
        return False
    return all(is_strict(value) for value in schema.values())


def _parse(text: str) -> Any:
    fenced = FENCE.search(text)
    candidate = (fenced.group(1) if fenced else text).strip()
    try:
        return json.loads(candidate, parse_constant=_refuse_constant)
    except ValueError:
        start, end = candidate.find("{"), candidate.rfind("}")
        if 0 <= start < end and (start, end) != (0, len(candidate) - 1):
            return json.loads(candidate[start : end + 1], parse_constant=_refuse_constant)
        raise


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _depth(value: Any, level: int = 0) -> int:
    if level > MOST_SCHEMA_DEPTH:
        return level
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return max((_depth(item, level + 1) for item in inner), default=level)


def _references(value: Any) -> list[str]:
    if isinstance(value, list):
        return [reference for item in value for reference in _references(item)]
    if not isinstance(value, Mapping):
        return []
    own = [str(value[key]) for key in ("$ref", "$dynamicRef") if isinstance(value.get(key), str)]
    return own + [reference for item in value.values() for reference in _references(item)]


def _find_excess(schema: Mapping[str, Any]) -> str:
    if len(json.dumps(schema, default=str)) > MOST_SCHEMA_BYTES:
        return f"is larger than {MOST_SCHEMA_BYTES} bytes"
    return f"is nested deeper than {MOST_SCHEMA_DEPTH} levels" if _depth(schema) > MOST_SCHEMA_DEPTH else ""


def _find_nonsense(schema: Mapping[str, Any]) -> str:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"is not a JSON schema: {error.message[:MOST_COMPLAINT_CHARACTERS]}"
    return ""


def _find_unsupported(schema: Mapping[str, Any]) -> str:
    if any(not reference.startswith("#") for reference in _references(schema)):
        return "may refer only to its own parts (#/…)"
    unchecked = _unchecked(schema)
    return f"uses {unchecked}, which is not supported" if unchecked else ""


def _find_endless(schema: Mapping[str, Any]) -> str:
    try:
        for sample in SAMPLES:
            next(iterate_errors(schema, sample), None)
    except (Unresolvable, RecursionError, TooMuchWorkError) as error:
        return f"cannot be applied: {_reason(error)}"
    return ""


def _unchecked(value: Any, *, names: bool = False) -> str:
    """Find a keyword that is not applied; keys that name properties or parts are no keywords."""
    if isinstance(value, list):
        return next(filter(None, map(_unchecked, value)), "")
    if not isinstance(value, Mapping):
        return ""
    if not names:
        found = next((key for key in UNCHECKED if key in value), "")
        if found:
            return found
    inner = (_unchecked(item, names=not names and key in _NAMING) for key, item in value.items())
    return next(filter(None, inner), "")


_NAMING = {"properties", "$defs", "definitions", "dependentSchemas"}


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it refers to itself without end"
    return str(error) if isinstance(error, TooMuchWorkError) else "it refers to a part that it does not have"
