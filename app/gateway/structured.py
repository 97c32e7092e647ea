"""Structured answers: check a caller's schema, read an answer by it, and say in words what is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.validators import extend
from referencing import Registry as References
from referencing.exceptions import Unresolvable

MOST_SCHEMA_BYTES = 65_536
MOST_SCHEMA_DEPTH = 32
MOST_COMPLAINTS = 5
MOST_COMPLAINT_CHARACTERS = 300
FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n\s*```", re.DOTALL)

# A pattern comes from whoever wrote the schema, and Python's engine can take for ever on a bad one: the vendors check
# patterns, we do not.
_Validator: Any = extend(  # type: ignore[no-untyped-call]
    Draft202012Validator, {"pattern": None, "patternProperties": None}
)


def schema_problem(schema: Any) -> str:
    """Say why something cannot be used as a response schema; empty when it can.

    References may point within the schema only: nothing is ever fetched.
    """
    if not isinstance(schema, Mapping):
        return "must be a JSON schema (an object)"
    written = json.dumps(schema, default=str)
    if len(written) > MOST_SCHEMA_BYTES:
        return f"is larger than {MOST_SCHEMA_BYTES} bytes"
    if _depth(schema) > MOST_SCHEMA_DEPTH:
        return f"is nested deeper than {MOST_SCHEMA_DEPTH} levels"
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        return f"is not a JSON schema: {error.message[:MOST_COMPLAINT_CHARACTERS]}"
    if any(not reference.startswith("#") for reference in _references(schema)):
        return "may refer only to its own parts (#/…)"
    return ""


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
            _Validator(schema, registry=References()).iter_errors(value),
            key=lambda one: list(map(str, one.absolute_path)),
        )
        complaints = [
            f"{one.json_path}: {one.message[:MOST_COMPLAINT_CHARACTERS]}" for one in problems[:MOST_COMPLAINTS]
        ]
    except (Unresolvable, RecursionError) as error:
        return None, f"the schema cannot be applied: {type(error).__name__}"
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
