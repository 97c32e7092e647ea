from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.workflows.conditions import OPERATORS, check_condition, holds, names_in_condition, same_json
from app.workflows.places import Problems
from tests.unit.workflows.documents import PLAIN_JSON, PLAIN_SCALARS

SCOPE: dict[str, Any] = {
    "n": 5,
    "half": 0.5,
    "text": "abc",
    "blank": " \n",
    "yes": True,
    "no": False,
    "none": None,
    "empty": [],
    "list": [1, "a"],
    "grade": " 8\n",
    "precise": "7.50",
    "plan": {"score": 9, "tags": ["x"]},
}


@pytest.mark.parametrize(
    ("var", "op", "value"),
    [
        ("n", "==", 5),
        ("n", "==", 5.0),
        ("n", "!=", 6),
        ("n", "!=", "5"),
        ("text", "==", "abc"),
        ("yes", "==", True),
        ("yes", "!=", 1),
        ("no", "!=", 0),
        ("none", "==", None),
        ("none", "!=", False),
        ("unknown", "==", None),
        ("unknown", "!=", 1),
        ("list", "==", [1.0, "a"]),
        ("list", "!=", [True, "a"]),
        ("plan", "==", {"tags": ["x"], "score": 9}),
        ("plan.score", ">", 8.5),
        ("plan.tags.0", "==", "x"),
        ("n", "<", 6),
        ("n", "<=", 5),
        ("n", ">=", 5),
        ("half", ">", 0),
        ("text", "<", "abd"),
        ("text", ">=", "abc"),
        ("grade", ">=", 7),
        ("grade", "==", 8),
        ("grade", "==", " 8\n"),
        ("precise", "==", 7.5),
        ("n", "in", [1, 5.0]),
        ("grade", "in", [7, 8]),
        ("text", "in", ["abc"]),
        ("text", "in", "xabcx"),
        ("text", "in", {"abc": 1}),
        ("none", "in", [None]),
        ("n", "exists", None),
        ("empty", "exists", True),
        ("no", "exists", True),
        ("none", "exists", False),
        ("unknown", "exists", False),
        ("plan.nothing", "exists", False),
        ("none", "empty", None),
        ("unknown", "empty", None),
        ("empty", "empty", None),
        ("blank", "empty", True),
        ("no", "empty", False),
        ("text", "empty", False),
    ],
)
def test_a_comparison_that_holds(var: str, op: str, value: Any) -> None:
    assert holds({"var": var, "op": op, "value": value}, SCOPE)
    assert not holds({"not": {"var": var, "op": op, "value": value}}, SCOPE)


@pytest.mark.parametrize(
    ("var", "op", "value"),
    [
        ("n", "==", "5"),
        ("yes", "==", 1),
        ("yes", ">", 0),
        ("n", "==", True),
        ("unknown", "<", 1),
        ("unknown", ">", 1),
        ("none", ">=", 0),
        ("text", "<", 5),
        ("n", "<", "6"),
        ("list", "<", 5),
        ("grade", "==", "8"),
        ("text", "in", ["a", "b"]),
        ("n", "in", "12345"),
        ("yes", "in", [1]),
        ("none", "in", "none"),
        ("list", "in", {"list": 1}),
        ("none", "exists", None),
        ("text", "exists", False),
        ("yes", "empty", None),
    ],
)
def test_a_comparison_that_does_not_hold(var: str, op: str, value: Any) -> None:
    assert not holds({"var": var, "op": op, "value": value}, SCOPE)


def test_all_any_and_not_combine() -> None:
    right, wrong = {"var": "yes", "op": "exists"}, {"var": "yes", "op": "empty"}
    assert holds({"all": [right, {"any": [wrong, right]}, {"not": wrong}]}, SCOPE)
    assert not holds({"all": [right, wrong]}, SCOPE)
    assert not holds({"any": [wrong, {"not": right}]}, SCOPE)


def test_all_of_nothing_holds_and_any_of_nothing_does_not() -> None:
    assert holds({"all": []}, {})
    assert not holds({"any": []}, {})


def test_placeholders_in_a_conditions_value_mean_nothing() -> None:
    assert holds({"var": "a", "op": "==", "value": "{b}"}, {"a": "{b}", "b": "x"})


def test_the_names_of_a_condition_are_the_roots_of_its_variables() -> None:
    condition = {"all": [{"var": "a.b", "op": "exists"}, {"any": [{"not": {"var": "c", "op": "empty"}}]}]}
    assert names_in_condition(condition) == {"a", "c"}


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "1_000", "\u0663", "0x10", "", "-", "1.", "9" * 5000])
def test_only_what_reads_as_a_plain_number_counts_as_one(text: str) -> None:
    assert not holds({"var": "a", "op": "<", "value": 10}, {"a": text})
    assert not holds({"var": "a", "op": "==", "value": 3}, {"a": text})


_COMPARISONS = st.fixed_dictionaries(
    {"var": st.sampled_from(["a", "b.0", "c.key"]), "op": st.sampled_from(OPERATORS), "value": PLAIN_JSON}
)
_CONDITIONS = st.recursive(
    _COMPARISONS,
    lambda inner: (
        st.fixed_dictionaries({"not": inner})
        | st.fixed_dictionaries({"all": st.lists(inner, max_size=3)})
        | st.fixed_dictionaries({"any": st.lists(inner, max_size=3)})
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(_CONDITIONS, st.dictionaries(st.sampled_from(["a", "b", "c"]), PLAIN_JSON))
def test_a_condition_that_passed_its_check_is_judged_without_an_error(
    condition: dict[str, Any], scope: dict[str, Any]
) -> None:
    problems = Problems(100)
    check_condition(condition, "when", problems)
    if not problems.count:
        assert holds(condition, scope) is not holds({"not": condition}, scope)


@given(PLAIN_SCALARS, PLAIN_SCALARS)
def test_order_and_equality_agree(left: Any, right: Any) -> None:
    def judged(op: str) -> bool:
        return holds({"var": "a", "op": op, "value": right}, {"a": left})

    if isinstance(right, int | float | str) and not isinstance(right, bool):
        assert judged("<=") == (judged("<") or (judged("==") and judged(">=")))
        assert not (judged("<") and judged(">"))
    assert judged("==") is not judged("!=")


@given(PLAIN_JSON)
def test_a_value_is_the_same_json_as_itself(value: Any) -> None:
    assert same_json(value, value)
    assert not same_json([value], [value, value])


def test_depth_does_not_matter_when_comparing() -> None:
    left: Any = []
    right: Any = []
    for _ in range(5_000):
        left, right = [left], [right]
    assert holds({"var": "a", "op": "==", "value": right}, {"a": left})
