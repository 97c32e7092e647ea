"""What a model that plans is told it may write, and the check of what it wrote before a step of it is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.chat.model import ACKNOWLEDGER, CATEGORIZER, EXPLAINER, REPORTER, USER_MESSAGE
from app.workflows.catalog import Catalog
from app.workflows.written import MOST_MADE, WRITTEN_LIMITS, WrittenRules, media_asked_for, read_written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.workflows.model import Workflow

OURS = frozenset({CATEGORIZER, ACKNOWLEDGER, REPORTER, EXPLAINER})
"""Models with a part of their own in every chat; none for a plan."""


@dataclass(frozen=True)
class PlannedModel:
    """A model as a plan sees it: what it is for, and what it makes (`chat`, `image`, `video`)."""

    purpose: str
    kind: str


class CheckedPlans:
    """Reads plans by the rules for documents that a model wrote; implements `PlanReader`.

    Args:
        models: those that are served, by name.
        addons: names of crafts.
    """

    def __init__(self, models: Callable[[], Mapping[str, PlannedModel]], addons: Callable[[], frozenset[str]]) -> None:
        self._models = models
        self._addons = addons

    def describe(self) -> str:
        """Tell a model what it may write."""
        models = "\n".join(f"- {name}: {model.purpose}" for name, model in sorted(self._usable().items()))
        addons = ", ".join(sorted(self._addons())) or "none"
        return (
            'The form: {"workflow": [{"type": "linear", "tasks": [{"model": "...", "prompt": "...",'
            ' "output_variable": "...", "config": {"addons": ["..."]}}]}]}\n'
            "The blocks of `workflow` follow each other. In a block of type linear all tasks run side by side, in one"
            " of type inline one after another. A task names one model, its prompt, and the variable its answer is kept"
            " in; {name} in a later prompt stands for that answer. Two tasks of one linear block have different"
            f" variables. At most {WRITTEN_LIMITS.max_tasks} tasks, {MOST_MADE['image']} images and"
            f" {MOST_MADE['video']} films.\nModels:\n{models}\n"
            f"Addons (crafts, named where they help): {addons}"
        )

    def read(self, said: str, request: str) -> Workflow:
        """Read and check what a model wrote.

        Args:
            said: its whole answer.
            request: the person's own words: paid images and film are only taken where these ask for them.

        Raises:
            DocumentInvalidError: every problem at its place.
        """
        usable = self._usable()
        catalog = Catalog(frozenset(usable), agents=frozenset(), tools=frozenset(), addons=self._addons())
        rules = WrittenRules(
            catalog, kinds={name: model.kind for name, model in usable.items()}, asked_for=media_asked_for(request)
        )
        return read_written(said, rules, {USER_MESSAGE: request})

    def _usable(self) -> dict[str, PlannedModel]:
        return {name: model for name, model in self._models().items() if name not in OURS}
