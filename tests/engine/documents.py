"""Small documents, parsed by the real grammar with the names that trials use."""

from __future__ import annotations

from typing import Any

from app.workflows.catalog import Catalog
from app.workflows.grammar import parse_workflow
from app.workflows.model import Workflow

TOOLS = (
    "mark", "work", "nap", "flaky", "boom", "poison", "poison_once", "gate", "odd", "leave", "parks", "on_stage",
    "echo", "wait",
)  # fmt: skip
CATALOG = Catalog(
    models=frozenset({"fast_ai", "thinking_ai"}),
    agents=frozenset({"witness"}),
    tools=frozenset(TOOLS),
    addons=frozenset(),
)


def parse(blocks: list[dict[str, Any]], variables: dict[str, Any] | None = None) -> Workflow:
    """Read blocks as the door does."""
    return parse_workflow({"workflow": blocks}, variables, catalog=CATALOG)


def tool(name: str, key: str | None = None, **given: Any) -> dict[str, Any]:
    """Write a task that calls a tool; keywords with a trailing underscore are the task's own, the rest its input."""
    own = {word.rstrip("_"): value for word, value in given.items() if word.endswith("_")}
    task = {"tool": name, "input": {word: value for word, value in given.items() if not word.endswith("_")}, **own}
    return {"id": key, **task} if key else task


def approval(key: str, **more: Any) -> dict[str, Any]:
    """A task that asks a person."""
    return {"id": key, "approval": "Shall we?", **more}


def inline(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Write a block whose tasks follow each other."""
    return {"type": "inline", "tasks": list(tasks), **more}


def linear(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Write a block whose tasks go side by side."""
    return {"type": "linear", "tasks": list(tasks), **more}


def graph(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Write a block whose tasks declare what they come after."""
    return {"type": "graph", "tasks": list(tasks), **more}
