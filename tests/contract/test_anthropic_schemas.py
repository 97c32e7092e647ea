"""Every schema we hand to Anthropic is one that it takes, and allows nothing that the caller's own does not mean."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from app.providers.anthropic_schema import closed_schema
from simulator.answers import instance_of
from simulator.anthropic_schema import schema_problem

TEXT = {"type": "string"}


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": sorted(properties)}


@pytest.mark.parametrize(
    ("schema", "closed"),
    [
        (an_object(a=TEXT), {**an_object(a=TEXT), "additionalProperties": False}),
        ({"properties": {"a": TEXT}}, {"type": "object", "properties": {"a": TEXT}, "additionalProperties": False}),
        (
            {"type": "array", "items": an_object(a=TEXT), "minItems": 3},
            {
                "type": "array",
                "items": {**an_object(a=TEXT), "additionalProperties": False},
                "description": "{minItems: 3}",
            },
        ),
        (
            {"type": "integer", "minimum": 1, "maximum": 5, "description": "stars"},
            {"type": "integer", "description": "stars {maximum: 5, minimum: 1}"},
        ),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}),
        ({"type": "string", "format": "phone"}, {"type": "string", "description": "{format: phone}"}),
        ({"type": ["string", "null"]}, {"type": ["string", "null"]}),
        ({"oneOf": [TEXT, {"type": "null"}]}, {"anyOf": [TEXT, {"type": "null"}]}),
        ({"enum": ["a", 1, None]}, {"enum": ["a", 1, None]}),
        ({"$schema": "x", "type": "boolean", "default": True}, {"type": "boolean"}),
        (
            {"$defs": {"one": an_object(a=TEXT)}, "$ref": "#/$defs/one"},
            {"$defs": {"one": {**an_object(a=TEXT), "additionalProperties": False}}, "$ref": "#/$defs/one"},
        ),
    ],
)
def test_a_schema_is_closed(schema: dict[str, Any], closed: dict[str, Any]) -> None:
    assert closed_schema(schema) == closed
    assert schema_problem(closed) == ""


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": {"type": "number"}},
        {**an_object(a=TEXT), "additionalProperties": True},
        {**an_object(a=TEXT), "patternProperties": {"^x": TEXT}},
        {"type": "object", "properties": {"a": TEXT}, "required": ["b"]},
        {"type": "array"},
        {"type": "array", "prefixItems": [TEXT], "items": TEXT},
        an_object(a=True),
        an_object(a={}),
        {"enum": [{"a": 1}]},
        {"const": [1]},
        {"allOf": [an_object(a=TEXT), an_object(b=TEXT)]},
        {"$defs": {"tree": an_object(next={"$ref": "#/$defs/tree"})}, "$ref": "#/$defs/tree"},
        {"type": "object", "properties": {"self": {"$ref": "#"}}},
        {"$ref": "#/$defs/missing"},
    ],
)
def test_a_schema_that_cannot_be_closed_is_not(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)

    assert closed_schema(schema) is None


def test_references_that_fan_out_do_not_take_for_ever() -> None:
    chain = {
        f"d{number}": an_object(a={"$ref": f"#/$defs/d{number + 1}"}, b={"$ref": f"#/$defs/d{number + 1}"})
        for number in range(40)
    }
    schema = {"$defs": {**chain, "d40": TEXT}, "$ref": "#/$defs/d0"}
    started = time.perf_counter()

    assert closed_schema(schema) is not None
    assert time.perf_counter() - started < 1


LEAVES = st.sampled_from(
    [
        TEXT,
        {"type": "integer", "minimum": 1},
        {"type": "boolean"},
        {"type": ["number", "null"]},
        {"type": "string", "minLength": 2},
        {"type": "string", "format": "uri"},
        {"enum": ["x", 2]},
        {"const": 3},
    ]
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from("abc"), inner, min_size=1).map(lambda some: an_object(**some)),
        st.builds(lambda one: {"type": "array", "items": one, "maxItems": 4}, inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda some: {"anyOf": some}),
    ),
    max_leaves=12,
)


@given(SCHEMAS)
def test_whatever_is_closed_is_taken_by_the_vendor_and_means_the_same(schema: dict[str, Any]) -> None:
    closed = closed_schema(schema)

    assert closed is not None
    assert schema_problem(closed) == ""
    assert Draft202012Validator(closed).is_valid(instance_of(schema, schema))
