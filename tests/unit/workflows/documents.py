"""What the tests of workflow documents share: a catalogue, short ways to parse, and arbitrary JSON."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from app.errors import DocumentInvalidError
from app.workflows.grammar import Catalog, parse_workflow
from app.workflows.limits import DEFAULT_LIMITS, Limits
from app.workflows.model import Task, Workflow

CATALOG = Catalog(
    models=frozenset({"thinking_ai", "medium_ai", "fast_ai", "finished_task_ai", "imagen_4_ultra"}),
    agents=frozenset({"strategist", "generator"}),
    tools=frozenset({"echo", "search"}),
    addons=frozenset({"research", "storytelling"}),
)

WILD_TEXTS = st.text(st.characters(codec=None, categories=None), max_size=12)
PLAIN_TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)

# NaN and infinities, numbers no 64 bits hold, NUL and halves of surrogate pairs.
WILD_SCALARS: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**63, -(2**63) - 1, 10**4000, 1e308, 5e-324])
    | st.floats()
    | WILD_TEXTS
)
PLAIN_SCALARS: st.SearchStrategy[Any] = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(-1e15, 1e15) | PLAIN_TEXTS
)


def json_of(scalars: st.SearchStrategy[Any], names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    keys = names | st.sampled_from(["a", "b", "0", "name", "key"])
    return st.recursive(
        scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
    )


WILD_JSON = json_of(WILD_SCALARS, WILD_TEXTS)
PLAIN_JSON = json_of(PLAIN_SCALARS, PLAIN_TEXTS)


def parse(document: Any, variables: Any = None, limits: Limits = DEFAULT_LIMITS) -> Workflow:
    return parse_workflow(document, variables, catalog=CATALOG, limits=limits)


def refused(document: Any, variables: Any = None, limits: Limits = DEFAULT_LIMITS) -> dict[str, list[str]]:
    with pytest.raises(DocumentInvalidError) as caught:
        parse(document, variables, limits)
    return caught.value.errors


def one_task(**fields: Any) -> Task:
    return parse([{"tasks": [{"tool": "echo", **fields}]}]).blocks[0].tasks[0]


def refused_task(**fields: Any) -> dict[str, list[str]]:
    """Refuse a document of one echo task; the place of the task is cut off the answer's keys."""
    prefix = "workflow[0].tasks[0]"
    errors = refused([{"tasks": [{"tool": "echo", **fields}]}])
    return {place.removeprefix(prefix).removeprefix("."): messages for place, messages in errors.items()}


def echo(task_id: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"tool": "echo", **({"id": task_id} if task_id else {}), **fields}
