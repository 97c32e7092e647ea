from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.errors import FatalError
from app.workflows.variables import MAX_RENDERED_CHARACTERS, MISSING, lookup, names_in, render, text_of
from tests.unit.workflows.documents import PLAIN_JSON, WILD_JSON

SCOPE: dict[str, Any] = {
    "topic": "tides",
    "n": 5,
    "ratio": 0.5,
    "yes": True,
    "none": None,
    "list": ["a", {"b": 2}],
    "plan": {"title": "Sea", "0": "zero", "parts": [{"name": "x"}], "año": 1},
    "product name": "Batuta",
    "año": 2026,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{topic}", "tides"),
        ("{n}", 5),
        ("{yes}", True),
        ("{none}", None),
        ("{list}", ["a", {"b": 2}]),
        ("{list.1}", {"b": 2}),
        ("{list.1.b}", 2),
        ("{plan.title}", "Sea"),
        ("{plan.0}", "zero"),
        ("{plan.parts.0.name}", "x"),
        ("{product name}", "Batuta"),
        ("{año}", 2026),
        ("{plan.año}", 1),
    ],
)
def test_a_text_that_is_only_a_placeholder_becomes_the_value_itself(text: str, value: Any) -> None:
    rendered = render(text, SCOPE)
    assert rendered == value
    assert type(rendered) is type(value)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("On {topic}.", "On tides."),
        ("{n} of {n}", "5 of 5"),
        ("{ratio}|", "0.5|"),
        ("{yes}!", "true!"),
        ("[{none}]", "[]"),
        ("{list} ", '["a",{"b":2}] '),
        ("{plan.parts}.", '[{"name":"x"}].'),
        ("{topic}{topic}", "tidestides"),
        ("año {año}: {plan}", 'año 2026: {"title":"Sea","0":"zero","parts":[{"name":"x"}],"año":1}'),
    ],
)
def test_inside_a_text_a_variable_is_its_text(text: str, rendered: str) -> None:
    assert render(text, SCOPE) == rendered


@pytest.mark.parametrize(
    "text",
    [
        "{unknown}",
        "{topic.length}",
        "{list.2}",
        "{list.-1}",
        "{list.00}",
        "{list.\u0660}",
        "{list.99999999999}",
        "{list." + "9" * 5000 + "}",
        "{plan.nothing}",
        "{plan.title.0}",
        "{n.0}",
        "{ topic}",
        "{topic }",
        "{product  name}",
        "{}",
        "{.}",
        "{topic.}",
        "{.topic}",
        "{topic\n}",
        "{topic",
        "topic}",
        '{"topic": 1}',
        "{'topic'}",
        "{topic: n}",
        "{topic|upper}",
        "{topic!r}",
        "{topic[0]}",
        "{topic.__class__}",
        "body { color: red }",
        "f(x) = {x | x > 0}",
    ],
)
def test_what_names_nothing_stays_as_it_is(text: str) -> None:
    assert render(text, SCOPE) == text
    assert render("a " + text, SCOPE) == "a " + text


def test_the_braces_of_json_in_a_prompt_survive_around_a_placeholder() -> None:
    prompt = 'Answer as {"topic": "{topic}", "n": {n}, "tags": [{}], "x": {{topic}}}'
    assert render(prompt, SCOPE) == 'Answer as {"topic": "tides", "n": 5, "tags": [{}], "x": {tides}}'


def test_a_path_into_null_is_null_so_that_a_skipped_step_leaves_no_braces() -> None:
    assert render("{none.title}", SCOPE) is None
    assert render("[{none.title.0}]", SCOPE) == "[]"


def test_values_are_never_expanded_again() -> None:
    scope = {"a": "{b}", "b": "{a}", "c": ["{a}"]}
    assert render("{a} {b}", scope) == "{b} {a}"
    assert render({"x": "{a}", "y": "{c}"}, scope) == {"x": "{b}", "y": ["{a}"]}
    assert render("{{a}}", {"a": "b", "b": "secret"}) == "{b}"


def test_two_values_do_not_join_into_a_placeholder() -> None:
    assert render("{a}{b}", {"a": "{sec", "b": "ret}", "secret": "!"}) == "{secret}"


def test_objects_and_lists_are_rendered_inside_but_not_their_names() -> None:
    value = {"{topic}": ["{topic}", 1, {"deep": "{n}"}], "plain": [True, None]}
    assert render(value, SCOPE) == {"{topic}": ["tides", 1, {"deep": 5}], "plain": [True, None]}


def test_the_order_of_names_is_kept() -> None:
    assert list(render({"b": "{n}", "a": "x", "c": "{topic}"}, SCOPE)) == ["b", "a", "c"]


def test_what_holds_no_placeholder_is_handed_back_and_not_copied() -> None:
    value: dict[str, Any] = {"a": ["b", {"c": "{unknown}"}], "d": "{n}", "e": ["f"]}
    rendered = render(value, SCOPE)
    assert rendered["a"] is value["a"]
    assert rendered["e"] is value["e"]
    assert value["d"] == "{n}"
    assert render(value["a"], SCOPE) is value["a"]


def test_a_prompt_of_placeholders_does_not_grow_without_bound() -> None:
    scope = {"a": "x" * 1_000_000, "list": ["y" * 1000] * 1000}
    for bomb in ("{a}" * 66_000, ["{a}"] * 66_000, {str(i): "{list}" for i in range(1000)}, ["{list} "] * 100):
        with pytest.raises(FatalError) as caught:
            render(bomb, scope)
        assert caught.value.code == "rendered_too_large"


def test_a_large_variable_may_be_used_once_whatever_its_size() -> None:
    scope = {"a": "x" * (MAX_RENDERED_CHARACTERS + 1)}
    assert render({"data": "{a}"}, scope) == {"data": scope["a"]}


def test_a_variable_nested_deeper_than_can_be_written_is_a_steps_error() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    assert render("{deep}", {"deep": deep}) is deep
    with pytest.raises(FatalError) as caught:
        render("a {deep}", {"deep": deep})
    assert caught.value.code == "unrenderable"
    while deep:  # freed level by level: a chain this long freed at once would overflow the stack
        deep = deep.pop()


def test_a_number_too_long_to_write_is_a_steps_error() -> None:
    with pytest.raises(FatalError):
        text_of([10**5000])


@pytest.mark.parametrize(
    "text", ["{" * 1_000_000, "{a" * 500_000, "{" + "a" * 1_000_000, "{" + "a " * 500_000, "{a." * 300_000]
)
def test_a_text_of_braces_takes_one_look_at_each_character(text: str) -> None:
    started = time.process_time()
    assert render(text, SCOPE) == text
    assert names_in(text) == frozenset()
    assert time.process_time() - started < 1.5


@settings(max_examples=150, deadline=None)
@given(WILD_JSON, st.dictionaries(st.text(max_size=4), WILD_JSON, max_size=4))
def test_rendering_any_json_raises_nothing(value: Any, scope: dict[str, Any]) -> None:
    render(value, scope)
    names_in(value)


_NAMES = st.sampled_from(["a", "b", "c d", "é", "z"])
_PATHS = st.builds(".".join, st.lists(_NAMES | st.sampled_from(["0", "1"]), min_size=1, max_size=3))
_TEMPLATES = st.lists(st.tuples(st.sampled_from(["", "{", "}", "{{", " ", '{"a": ', "x"]), _PATHS), max_size=4).map(
    lambda parts: "".join(f"{before}{{{path}}}" for before, path in parts)
)
_SCOPES = st.dictionaries(_NAMES, PLAIN_JSON | _TEMPLATES, max_size=4)


@settings(max_examples=150)
@given(_TEMPLATES, _SCOPES)
@example("{a}{b}", {"a": "{b}", "b": "{a}"})
def test_rendering_is_one_pass_from_left_to_right(template: str, scope: dict[str, Any]) -> None:
    # The same by hand: cut at the placeholders, look each up, join; nothing that was put in is looked at again.
    pieces = re.split(r"(\{[^{}]*\})", template)
    found = [
        lookup(piece[1:-1], scope) if piece.startswith("{") and piece.endswith("}") else MISSING for piece in pieces
    ]
    expected = [piece if value is MISSING else text_of(value) for piece, value in zip(pieces, found, strict=True)]
    rendered = render("| " + template, scope)
    assert rendered == "| " + "".join(expected)


@settings(max_examples=150)
@given(
    st.recursive(_TEMPLATES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3)),
    _SCOPES,
)
def test_rendering_needs_exactly_the_names_it_says(value: Any, scope: dict[str, Any]) -> None:
    names = names_in(value)
    looked_up = _Watched(scope)
    rendered = render(value, looked_up)
    assert looked_up.asked == names
    assert render(value, {name: scope[name] for name in names if name in scope}) == rendered


class _Watched(dict[str, Any]):
    def __init__(self, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> Any:
        self.asked.add(name)
        return super().__getitem__(name)
