"""What the doors ask about models without calling one: names, what is missing, what a workflow would cost."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection
from dataclasses import dataclass

from app.gateway.model import Usage
from app.gateway.prices import cost_usd, guess_tokens
from app.gateway.registry import LogicalModel, Offer, Registry
from app.gateway.rendering import config_problems
from app.workflows.estimate import Estimate, Figure, estimate_workflow
from app.workflows.model import Block, Task, Workflow
from app.workflows.spreads import NOTHING, Spread

USUAL_SHARE = 0.4
"""Share of its limit that a usual answer takes; a guess, until an installation has a history of its own."""
USUAL_TOKENS_A_SECOND, SLOW_TOKENS_A_SECOND = 60.0, 30.0
USUAL_START_S, SLOW_START_S = 1.0, 4.0
HANDLER_SECONDS = Spread(0.5, 5.0)
"""Seconds of an agent or tool nobody has timed yet."""


@dataclass(frozen=True)
class ModelRow:
    """One line of the list of models: the offer that serves now, or would if it were configured."""

    model: LogicalModel
    offer: Offer
    available: bool


class ModelDesk:
    """Answers about the registry as this installation is configured.

    Args:
        registry: the models.
        providers: those that are configured.
        supported: those this version can use.
        today: the date on which offers retire.
    """

    def __init__(
        self,
        registry: Registry,
        providers: Collection[str],
        supported: Collection[str],
        today: Callable[[], dt.date],
    ) -> None:
        self._registry = registry
        self._providers = frozenset(providers)
        self._supported = frozenset(supported)
        self._today = today

    @property
    def names(self) -> frozenset[str]:
        """Logical names and aliases."""
        return self._registry.names

    def list_models(self) -> list[ModelRow]:
        """List the models in the registry's order."""
        return [self._row(model) for model in self._registry.models.values()]

    def _row(self, model: LogicalModel) -> ModelRow:
        targets = self._registry.route(model.name, self._providers, self._today()).targets
        own = next((target.offer for target in targets if target.logical is model), None)
        return ModelRow(model, own or model.offers[0], available=own is not None)

    def missing_settings(self, workflow: Workflow) -> tuple[str, ...]:
        """Name the variables of which one must be set before every model step can run; empty when all can."""
        for task in workflow.tasks():
            if task.kind == "model":
                missing = self._registry.missing_variables(task.target, self._providers, self._supported)
                stand_ins = (
                    self._registry.missing_variables(name, self._providers, self._supported) for name in task.fallback
                )
                if missing and not any(not one for one in stand_ins):
                    return missing
        return ()

    def warnings(self) -> list[str]:
        """List what `/health` should show: models that are retired or soon will be, of configured providers."""
        return self._registry.retirements(self._today(), self._providers)

    def estimate(self, workflow: Workflow, *, history: Figure | None = None) -> Estimate:
        """Estimate a workflow from the registry's prices.

        Args:
            workflow: a parsed document.
            history: seconds of a task; None guesses from the length of answers.
        """
        return estimate_workflow(workflow, price=self._dollars, history=history or self._seconds)

    def _dollars(self, task: Task, _block: Block) -> Spread:
        if task.kind != "model":
            return NOTHING
        row = self._row(self._registry.find(task.target))
        most = _most_tokens(task, row.model)
        prompt = guess_tokens(task.prompt or "")
        usual, full = (
            float(cost_usd(row.offer.prices, Usage(input_tokens=prompt, output_tokens=tokens)))
            for tokens in (int(most * USUAL_SHARE), most)
        )
        return Spread(usual, max(usual, full))

    def _seconds(self, task: Task, _block: Block) -> Spread:
        if task.kind != "model":
            return HANDLER_SECONDS if task.kind in {"agent", "tool"} else NOTHING
        most = _most_tokens(task, self._registry.find(task.target))
        return Spread(
            USUAL_START_S + most * USUAL_SHARE / USUAL_TOKENS_A_SECOND, SLOW_START_S + most / SLOW_TOKENS_A_SECOND
        )


def _most_tokens(task: Task, model: LogicalModel) -> int:
    said = task.config.get("max_tokens")
    usable = isinstance(said, int) and not config_problems({"max_tokens": said})
    return said if usable and isinstance(said, int) else model.max_tokens
