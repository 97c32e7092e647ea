"""What OpenAI's strict mode takes of a JSON schema."""

from __future__ import annotations

from typing import Any


def strict_problem(schema: Any) -> str:
    """Say what strict mode does not take; empty when it takes all."""
    if isinstance(schema, list):
        return next((problem for item in schema if (problem := strict_problem(item))), "")
    if not isinstance(schema, dict):
        return ""
    if "properties" in schema or schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false."
        if set(schema.get("required", [])) != set(schema.get("properties", {})):
            return "'required' is required to be supplied and to be an array including every key in properties."
    inner = [
        *schema.get("properties", {}).values(),
        *schema.get("$defs", {}).values(),
        schema.get("items"),
        schema.get("anyOf"),
    ]
    return strict_problem([item for item in inner if item is not None])
