"""The examples of docs/workflows.md, taken from the page and tried."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from app.workflows.conditions import check_condition, holds
from app.workflows.limits import DEFAULT_LIMITS
from app.workflows.places import Problems
from app.workflows.task_grammar import FIELDS
from app.workflows.variables import MAX_RENDERED_CHARACTERS, render
from tests.unit.workflows.documents import parse, refused

PAGE = (Path(__file__).parents[3] / "docs" / "workflows.md").read_text(encoding="utf-8")
BLOCKS = [(kind, json.loads(text)) for kind, text in re.findall(r"```json (\w+)\n(.*?)```", PAGE, re.DOTALL)]
(VARIABLES,) = [value for kind, value in BLOCKS if kind == "variables"]
DOCUMENTS = [value for kind, value in BLOCKS if kind == "document"]
RENDERED = [
    (json.loads(text), json.loads(value))
    for text, value in re.findall(r"^\| `(\".*\")` \| `(.*)` \|$", PAGE, re.MULTILINE)
]
JUDGED = [
    (json.loads(text), answer) for text, answer in re.findall(r"^\| `(\{.*\})` \| (yes|no) \|$", PAGE, re.MULTILINE)
]


def test_the_page_has_all_its_examples() -> None:
    assert len(re.findall("```json", PAGE)) == len(BLOCKS)
    assert (len(DOCUMENTS), len(RENDERED), len(JUDGED)) == (5, 12, 7)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_an_example_is_a_document(document: Any) -> None:
    assert parse(document).tasks()


@pytest.mark.parametrize(("text", "value"), RENDERED)
def test_a_text_becomes_what_the_page_says(text: str, value: Any) -> None:
    assert render(text, VARIABLES) == value


@pytest.mark.parametrize(("condition", "answer"), JUDGED)
def test_a_condition_is_judged_as_the_page_says(condition: dict[str, Any], answer: str) -> None:
    problems = Problems(100)
    check_condition(condition, "when", problems)
    assert problems.count == 0
    assert holds(condition, VARIABLES) is (answer == "yes")


def test_the_refused_example_has_just_the_problems_of_the_page() -> None:
    (document,) = [value for kind, value in BLOCKS if kind == "refused"]
    (problems,) = [value for kind, value in BLOCKS if kind == "problems"]
    assert refused(document) == problems


def test_every_field_of_a_task_stands_on_the_page() -> None:
    fields = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) | {"prompt"}
    assert fields >= set(FIELDS)


def test_the_bounds_on_the_page_are_the_bounds() -> None:
    limits = DEFAULT_LIMITS
    told = [limits.max_tasks, limits.max_items, limits.max_prompt_characters, limits.max_timeout_s, limits.max_depth]
    told += [limits.max_key_characters, limits.max_name_characters, limits.max_problems, MAX_RENDERED_CHARACTERS]
    for bound in told:
        assert re.search(rf"(?<![\d,]){bound:,}(?![\d,]*\d)", PAGE), bound
    assert f"1..{limits.max_concurrency}" in PAGE
    assert f"0..{limits.max_retries}" in PAGE
