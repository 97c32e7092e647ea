"""Schemas from callers, and answers from models; neither is to be trusted."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from app.gateway.structured import is_strict, read_structured, schema_problem

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
    "required": ["name"],
    "additionalProperties": False,
}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    "said",
    [
        '{"name": "Ada", "age": 36}',
        '```json\n{"name": "Ada", "age": 36}\n```',
        'Here you are: {"name": "Ada", "age": 36} I hope it helps.',
        '  \n{"name": "Ada", "age": 36}\n',
    ],
)
def test_an_answer_is_read_through_fences_and_chatter(said: str) -> None:
    assert read_structured(said, PERSON) == ({"name": "Ada", "age": 36}, "")


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("no idea", "not JSON"),
        ('{"age": 36}', "'name' is a required property"),
        ('{"name": 5}', "$.name"),
        ('{"name": "Ada", "age": -1}', "$.age"),
        ('{"name": "Ada", "pet": 1}', "pet"),
        ('{"name": "Ada", "age": NaN}', "NaN"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_a_complaint_says_what_a_model_can_mend(said: str, complaint: str) -> None:
    value, problem = read_structured(said, PERSON)

    assert value is None
    assert complaint in problem
    assert len(problem) < 2000


@given(st.text())
def test_whatever_a_model_says_is_read_or_complained_about(said: str) -> None:
    value, problem = read_structured(said, PERSON)

    assert (value is None) == bool(problem)


def test_a_schema_may_use_its_own_parts() -> None:
    schema = {"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "number"}}}

    assert schema_problem(schema) == ""
    assert read_structured("[1, 2]", schema) == ([1, 2], "")
    assert "$[1]" in read_structured('[1, "2"]', schema)[1]


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ("text", "object"),
        ({"type": "nonsense"}, "not a JSON schema"),
        ({"$ref": "http://127.0.0.1:1/schema.json"}, "own parts"),
        ({"properties": {"a": {"$ref": "file:///etc/hostname"}}}, "own parts"),
        ({"enum": ["x" * 70_000]}, "larger"),
        (nested(40), "deeper"),
    ],
)
def test_a_schema_that_would_cost_or_fetch_too_much_is_refused(schema: Any, problem: str) -> None:
    assert problem in schema_problem(schema)


def test_a_reference_to_a_part_that_is_missing_is_a_complaint_and_no_crash() -> None:
    assert "cannot be applied" in read_structured("1", {"$ref": "#/$defs/ghost"})[1]


def test_a_schema_that_refers_to_itself_for_ever_is_a_complaint_and_no_crash() -> None:
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}}

    assert read_structured("1", schema)[1]


def test_a_bad_pattern_of_a_caller_cannot_hold_a_worker() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "^(a+)+$"}}}
    started = time.perf_counter()

    assert read_structured('{"a": "' + "a" * 40 + '!"}', schema)[1] == ""
    assert time.perf_counter() - started < 1


def test_strict_mode_is_only_asked_for_where_the_vendors_take_it() -> None:
    closed = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }

    assert is_strict(closed)
    assert is_strict({"type": "array", "items": closed})
    assert not is_strict(PERSON)
    assert not is_strict({**closed, "properties": {"a": {"type": "object"}}})


@pytest.mark.parametrize("around", ["{}", "Here it is: {}"], ids=["bare", "after words"])
def test_what_is_nested_without_end_is_a_complaint(around: str) -> None:
    deep = '{"a": ' * 100_000 + "1" + "}" * 100_000

    assert "nested too deeply" in read_structured(around.format(deep), {"type": "object"})[1]


def doubled(levels: int) -> dict[str, Any]:
    """A small schema that refers to each of its parts twice, and so to the last one without end."""
    parts = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    return {"$defs": {**parts, f"d{levels}": {}}, "$ref": "#/$defs/d0"}


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (doubled(40), "takes too long"),
        ({"properties": {"x": doubled(3)["$defs"]["d0"]}, "$defs": doubled(40)["$defs"]}, ""),
        ({"$ref": "#"}, "refers to itself"),
        ({"$ref": "#/$defs/ghost"}, "does not have"),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, "patternProperties"),
        ({"properties": {"x": {"unevaluatedProperties": False}}}, "unevaluatedProperties"),
        ({"properties": {"patternProperties": {"type": "string"}}}, ""),
    ],
)
def test_a_schema_that_cannot_be_applied_in_time_is_refused_before_anything_is_paid(schema: Any, problem: str) -> None:
    found = schema_problem(schema)
    assert problem in found
    assert bool(found) == bool(problem)


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ({"properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": doubled(40)["$defs"]}, {"x": 1}),
        ({"x-hidden": {"patternProperties": {"^(a+)+$": {}}}, "$ref": "#/x-hidden"}, {"a" * 40 + "!": 1}),
        ({"x-hidden": {"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, "$ref": "#/x-hidden"},
         {"a" * 40 + "!": 1}),
        ({"properties": {"x": {"$schema": "https://json-schema.org/draft/2020-12/schema", "pattern": "^(a+)+$"}}},
         {"x": "a" * 40 + "!"}),
        ({"items": {"uniqueItems": True}}, [[{"n": n} for n in range(20_000)]]),
        ({"items": {"anyOf": [{"enum": list(range(5_000))}] * 5}}, [-1] * 5_000),
    ],
    ids=["references", "patterns", "other keys", "a dialect", "unique", "choices"],
)  # fmt: skip
def test_no_schema_holds_a_worker_whatever_is_answered(schema: Any, said: Any) -> None:
    begun = time.process_time()
    read_structured(json.dumps(said), schema)
    assert time.process_time() - begun < 5  # unbounded, each took minutes or for ever


def test_the_bounded_checks_agree_with_the_librarys_where_those_end() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "uniqueItems": True, "items": {"enum": [1, 2, 3]}}, "b": {"const": "x"}},
        "additionalProperties": {"type": "integer"},
    }
    good: tuple[Any, ...] = ({}, {"a": [1, 2]}, {"c": 1})
    bad: tuple[Any, ...] = ({"a": [1, 1]}, {"a": [4]}, {"b": "y"}, {"c": "1"}, {"a": 1}, [])
    for said in (*good, *bad):
        assert (read_structured(json.dumps(said), schema)[1] == "") == Draft202012Validator(schema).is_valid(said)
    assert all(read_structured(json.dumps(said), schema)[1] for said in bad)
