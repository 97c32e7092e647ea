"""Make a JSON schema one that Anthropic's structured output takes: a subset of the language, every object closed.

What only narrows, such as a least length, moves into the description, where the model reads it; the gateway holds the
answer to the caller's own schema in any case.

Source: https://platform.claude.com/docs/en/build-with-claude/structured-outputs, November 2026.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}
KEPT = ("type", "enum", "const", "title", "required")
IGNORED = {"$schema", "$id", "$comment", "examples", "default", "additionalProperties", "description"}
HANDLED = {*KEPT, *IGNORED, "properties", "items", "anyOf", "oneOf", "allOf", "$ref", "$defs", "definitions"}
TYPING = {"type", "enum", "const", "anyOf", "allOf", "$ref"}
OPENING = {"patternProperties", "prefixItems", "contains", "$dynamicRef", "$anchor", "$dynamicAnchor"}
"""Keywords that a closed schema cannot stand for."""


class _NotExpressibleError(Exception):
    pass


def closed_schema(schema: Mapping[str, Any]) -> dict[str, Any] | None:
    """Close a schema.

    Args:
        schema: what an answer must fit; its references stay within it.

    Returns:
        A schema that the vendor takes and that allows nothing but answers of the caller's shape; None when there is no
        such one: maps with free keys, anything-goes, tuples, recursion.
    """
    try:
        _check_references(schema, schema, (), set())
        return _closed(schema)
    except (_NotExpressibleError, RecursionError):
        return None


def _closed(schema: Any) -> dict[str, Any]:
    if not isinstance(schema, Mapping) or OPENING & set(schema):
        raise _NotExpressibleError
    if any(isinstance(value, list | Mapping) for value in [*schema.get("enum", ()), schema.get("const")]):
        raise _NotExpressibleError
    closed: dict[str, Any] = {key: schema[key] for key in KEPT if key in schema}
    for key in ("$defs", "definitions"):
        if key in schema:
            closed[key] = {name: _closed(one) for name, one in schema[key].items()}
    if "$ref" in schema:
        return {**closed, "$ref": schema["$ref"]}
    _close_variants(schema, closed)
    if "properties" in schema or "object" in _types(schema):
        _close_object(schema, closed)
    if "array" in _types(schema):
        closed["items"] = _closed(schema.get("items"))
    if not TYPING & set(closed):
        raise _NotExpressibleError
    _describe(schema, closed)
    return closed


def _types(schema: Mapping[str, Any]) -> set[str]:
    kind = schema.get("type", ())
    return {kind} if isinstance(kind, str) else set(kind)


def _close_variants(schema: Mapping[str, Any], closed: dict[str, Any]) -> None:
    variants = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if variants:
        if "anyOf" in schema and "oneOf" in schema:
            raise _NotExpressibleError
        closed["anyOf"] = [_closed(one) for one in variants]
    if "allOf" in schema:
        if len(schema["allOf"]) > 1 or "$ref" in schema["allOf"][0]:
            raise _NotExpressibleError  # closed one by one, they would forbid each other's properties
        closed["allOf"] = [_closed(schema["allOf"][0])]


def _close_object(schema: Mapping[str, Any], closed: dict[str, Any]) -> None:
    properties = schema.get("properties")
    if not properties or schema.get("additionalProperties", False) is not False:
        raise _NotExpressibleError
    if not set(schema.get("required", ())) <= set(properties):
        raise _NotExpressibleError
    closed.setdefault("type", "object")
    closed["properties"] = {name: _closed(one) for name, one in properties.items()}
    closed["additionalProperties"] = False


def _describe(schema: Mapping[str, Any], closed: dict[str, Any]) -> None:
    """Keep what the vendor takes of the narrowing keywords, and put the others into words."""
    rest = {key: value for key, value in schema.items() if key not in HANDLED}
    if rest.get("format") in FORMATS and "string" in _types(schema):
        closed["format"] = rest.pop("format")
    if rest.get("minItems") in {0, 1}:
        closed["minItems"] = rest.pop("minItems")
    words = [str(schema["description"])] if schema.get("description") else []
    if rest:
        words.append("{" + ", ".join(f"{key}: {value}" for key, value in sorted(rest.items())) + "}")
    if words:
        closed["description"] = " ".join(words)


def _check_references(part: Any, root: Mapping[str, Any], opened: tuple[str, ...], sound: set[str]) -> None:
    """Follow references; one that comes back to itself is not taken, and one that leads nowhere is not either."""
    if isinstance(part, list):
        for one in part:
            _check_references(one, root, opened, sound)
    if not isinstance(part, Mapping):
        return
    reference = part.get("$ref")
    if isinstance(reference, str) and reference not in sound:
        if reference in opened:
            raise _NotExpressibleError
        _check_references(_resolved(reference, root), root, (*opened, reference), sound)
        sound.add(reference)
    for key, value in part.items():
        if key not in {"$defs", "definitions", "enum", "const", "default", "examples"}:
            _check_references(value, root, opened, sound)


def _resolved(reference: str, root: Mapping[str, Any]) -> Any:
    found: Any = root
    for name in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping) or reference in {"#", "#/"}:
        raise _NotExpressibleError
    return found
