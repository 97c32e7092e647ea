from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.database import read_json
from app.runs.text import cleaned_json

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(JSON_VALUES)
def test_whatever_python_calls_json_is_written_as_text_that_jsonb_takes(value: Any) -> None:
    text = cleaned_json(value)
    json.loads(text, parse_constant=pytest.fail)
    assert "\\u0000" not in text.replace("\\\\", "")
    text.encode("utf-8")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("a\x00b", "a�b"),
        ({"\x00": ["\ud800"]}, {"�": ["�"]}),
        (r"the characters \u0000", r"the characters \u0000"),
        ("a pair: \U0001f600", "a pair: \U0001f600"),
        ([float("nan"), float("-inf")], [None, None]),
        (2**200, 2**200),
        ([2**64, float("nan"), "\x00"], [2**64, None, "�"]),
        ({1: (2, 3)}, {"1": [2, 3]}),
    ],
)
def test_what_jsonb_does_not_take_is_replaced_and_the_rest_kept(value: Any, read: Any) -> None:
    assert json.loads(cleaned_json(value)) == read


@pytest.mark.parametrize("value", [{1, 2}, object(), [b"bytes"], {"a": {"b": {1}}}])
def test_what_is_no_json_is_refused(value: Any) -> None:
    with pytest.raises(TypeError):
        cleaned_json(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (str(2**127), 2**127),
        (str(-(2**80) - 1), -(2**80) - 1),
        ("1" + "0" * 300, 1e300),
        ("1.5", 1.5),
        ('{"a": [1, null, true]}', {"a": [1, None, True]}),
    ],
)
def test_whole_numbers_of_any_usual_length_are_read_exactly(text: str, value: Any) -> None:
    read = read_json(text)
    assert read == value
    assert type(read) is type(value)
