"""Workflows that a model wrote: what it may use, and the check before a step of one is stored."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from app.errors import DocumentInvalidError
from app.workflows.catalog import Catalog
from app.workflows.grammar import parse_workflow
from app.workflows.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.workflows.model import Workflow

MOST_TASKS = 30
LIMITS = Limits(
    max_tasks=MOST_TASKS,
    max_items=50,
    max_prompt_characters=20_000,
    max_timeout_s=900,
    max_retries=2,
    max_concurrency=20,
    max_depth=16,
    max_values=20_000,
    max_characters=400_000,
)
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)
_ASKS_FOR_FILM = re.compile(r"\b(v[ií]deos?|films?|movies?|clips?|reels?|animations?|pel[ií]culas?)\b", re.IGNORECASE)


class CheckedPlans:
    """Read what a model wrote by the grammar of all documents, with smaller bounds; implements `PlanReader`.

    Args:
        models: logical names that answer in text, with a line each on what they are for.
        addons: names of crafts.
    """

    def __init__(self, models: Callable[[], Mapping[str, str]], addons: Callable[[], frozenset[str]]) -> None:
        self._models = models
        self._addons = addons

    def describe(self) -> str:
        """Tell a model what it may write."""
        models = "\n".join(f"- {name}: {purpose}" for name, purpose in sorted(self._models().items()))
        addons = ", ".join(sorted(self._addons())) or "none"
        return (
            'The form: {"workflow": [{"type": "linear", "tasks": [{"model": "...", "prompt": "...",'
            ' "output_variable": "...", "config": {"addons": ["..."]}}]}]}\n'
            "The blocks of `workflow` follow each other. In a block of type linear all tasks run side by side, in one"
            " of type inline one after another. A task names one model, its prompt, and the variable its answer is kept"
            " in; {name} in a later prompt stands for that answer. Two tasks of one linear block have different"
            f" variables. At most {MOST_TASKS} tasks.\nModels:\n{models}\nAddons (crafts, named where they help):"
            f" {addons}"
        )

    def read(self, said: str, request: str) -> Workflow:
        """Read and check what a model wrote.

        Raises:
            DocumentInvalidError: every problem at its place.
        """
        document = find_json(said)
        models = frozenset(self._models())
        if not _ASKS_FOR_FILM.search(request):
            models -= {"veo_3_1"}
        catalog = Catalog(models=models, agents=frozenset(), tools=frozenset(), addons=self._addons())
        return parse_workflow(document, None, catalog=catalog, limits=LIMITS)


def find_json(said: str) -> Any:
    """Find the document in an answer: the last fenced block that is JSON, else from the first brace to the last.

    Raises:
        DocumentInvalidError: there is none.
    """
    first, last = said.find("{"), said.rfind("}")
    candidates = [*reversed(_FENCE.findall(said)), said[first : last + 1] if 0 <= first < last else ""]
    for candidate in candidates:
        try:
            return json.loads(candidate)
        except (ValueError, RecursionError):
            continue
    raise DocumentInvalidError(
        "There is no JSON document in the answer.", errors={"workflow": ["There is no JSON document in the answer."]}
    )
