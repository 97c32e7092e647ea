"""Which JSON schemas Anthropic's structured output takes: a subset, and every object closed."""

from __future__ import annotations

from typing import Any

KNOWN = {
    "$defs",
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "const",
    "default",
    "definitions",
    "description",
    "enum",
    "format",
    "items",
    "minItems",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
}
FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"}


def schema_problem(schema: Any) -> str:
    """Say what is not taken; empty when all of it is."""
    return _problem(schema, schema, ())


def _problem(schema: Any, root: Any, opened: tuple[str, ...]) -> str:
    if isinstance(schema, bool) or not isinstance(schema, dict):
        return "Boolean and empty schemas are not supported"
    reference = schema.get("$ref")
    if reference is not None:
        return _reference_problem(str(reference), root, opened)
    if problem := _own_problem(schema):
        return problem
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", []), *schema.get("allOf", [])]
    inner += [schema["items"]] if "items" in schema else []
    return next((problem for one in inner if (problem := _problem(one, root, opened))), "")


def _reference_problem(reference: str, root: Any, opened: tuple[str, ...]) -> str:
    if reference in opened:
        return "Too many recursive definitions in schema"
    found = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(part) if isinstance(found, dict) else None
    return _problem(found, root, (*opened, reference))


def _own_problem(schema: dict[str, Any]) -> str:
    kind = schema.get("type")
    unknown = ", ".join(sorted(set(schema) - KNOWN))
    is_object = kind == "object" or "properties" in schema
    untyped = not set(schema) & {"type", "enum", "const", "anyOf", "allOf"}
    problems = {
        f"For '{kind}' type, properties {unknown} are not supported": bool(unknown),
        "Schema must have a 'type', 'anyOf', 'allOf', 'enum' or 'const'": untyped,
        "For 'object' type, 'additionalProperties' must be explicitly set to false": is_object
        and schema.get("additionalProperties") is not False,
        "For 'array' type, 'minItems' values other than 0 or 1 are not supported": schema.get("minItems", 0) > 1,
        "For 'string' type, this format is not supported": schema.get("format", "date") not in FORMATS,
        "'allOf' with '$ref' is not supported": any("$ref" in one for one in schema.get("allOf", [])),
    }
    return next((problem for problem, found in problems.items() if found), "")
