"""Ask a model by its logical name: gate, ledger, vendor, ledger, in this order.

One call goes at most once to each model along its route, repairs aside. Back-off is the engine's: an error that may
pass is raised, and the step is parked. An answer that was paid for is found in the ledger and used, whatever limits and
breakers say.
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TypeVar

from app.errors import FatalError, PersistentError, StepError, StepParked
from app.gateway.embedding import EmbeddingExchange, check_texts
from app.gateway.exchange import Exchange
from app.gateway.model import EmbeddingCall, Embeddings, ModelAnswer, ModelCall
from app.gateway.ports import AnswerCache, CallLedger, ChatProvider, EmbeddingProvider, Gate, OnText
from app.gateway.registry import Kind, Registry, Route, Target
from app.gateway.rendering import config_problems
from app.gateway.sending import Doors, PassedOver

logger = logging.getLogger(__name__)
Answered = TypeVar("Answered")


def utc_today() -> dt.date:
    """Tell the date by which offers retire."""
    return dt.datetime.now(dt.UTC).date()


class Gateway:
    """The way to every model.

    Args:
        registry: the models.
        providers: the vendors that are configured, by their names in the registry.
        gate: shared memory of what fails, and of rates.
        embedders: those of the vendors that make embeddings.
        answers: keeps answers for those who ask the same again.
        batching: the vendors that take batches.
        today: the date on which offers retire.
    """

    def __init__(  # noqa: PLR0913 - collaborators, each by its name
        self,
        registry: Registry,
        providers: Mapping[str, ChatProvider],
        *,
        gate: Gate,
        embedders: Mapping[str, EmbeddingProvider] | None = None,
        answers: AnswerCache | None = None,
        batching: Collection[str] = (),
        today: Callable[[], dt.date] = utc_today,
    ) -> None:
        self._registry = registry
        self._doors = Doors(providers, gate, embedders or {}, answers, registry.version)
        self._batching = frozenset(batching)
        self._today = today

    async def complete(self, call: ModelCall, ledger: CallLedger, on_text: OnText | None = None) -> ModelAnswer:
        """Answer one call.

        Args:
            call: the question.
            ledger: of this try of the step.
            on_text: takes the answer's pieces as they come; an answer found in the ledger comes in one.

        Returns:
            An answer that fits the call's `response_schema`, if it has one.

        Raises:
            StepParked: `rate`, `breaker` or `budget`; nothing was sent.
            StepError: its class says whether trying again may help; with `details["final"]` it cannot.
        """
        problems = config_problems(call.config)
        if problems:
            listed = "; ".join(f"{key} {problem}" for key, problem in problems.items())
            raise FatalError(f"The config of this model call cannot be used: {listed}.", code="config_invalid")
        exchange = Exchange(call, ledger, self._doors, on_text)
        replayed = await exchange.replay()
        if replayed is not None:
            return replayed
        route = self.route(call.model, "chat", self._doors.providers, call.fallback)
        # A batch would hold the bytes of every image for hours; who shows one is not patient.
        if call.live_after_s is not None and on_text is None and not call.images:
            await self._pool(call, route, exchange)
        return await self.follow(route, exchange.ask)

    async def _pool(self, call: ModelCall, route: Route, exchange: Exchange) -> None:
        """Put a question into a batch of the first vendor that takes batches, among those of the wanted model."""
        wanted = route.targets[0].logical
        for target in route.targets:
            if target.logical is wanted and target.offer.provider in self._batching and call.live_after_s is not None:
                await exchange.pool(target, call.live_after_s)
                return

    async def embed(self, call: EmbeddingCall, ledger: CallLedger) -> Embeddings:
        """Place texts in a model's space; errors as `complete`."""
        check_texts(call)
        exchange = EmbeddingExchange(call, ledger, self._doors)
        replayed = await exchange.replay()
        if replayed is not None:
            return replayed
        return await self.follow(self.route(call.model, "embedding", self._doors.embedders, None), exchange.ask)

    async def follow(self, route: Route, ask: Callable[[Target], Awaitable[Answered | PassedOver]]) -> Answered:
        """Try each target once; go on where one refuses for good or its breaker is open."""
        problems: list[StepError | StepParked] = []
        for target in route.targets:
            outcome = await ask(target)
            if not isinstance(outcome, PassedOver):
                return outcome
            problems.append(outcome.problem)
            logger.warning("%s of %s is passed over: %s", target.offer.model, target.offer.provider, outcome.problem)
        raise _gravest(problems)

    def route(self, model: str, kind: Kind, providers: Collection[str], fallback: tuple[str, ...] | None) -> Route:
        """List who of some providers serves a model, best first.

        Raises:
            PersistentError: nobody does, or it makes another kind of thing.
        """
        route = self._registry.route(model, providers, self._today(), fallback)
        for warning in route.warnings:
            logger.warning("%s", warning)
        if not route.targets or route.targets[0].logical.kind != kind:
            missing = self._registry.missing_variables(model, providers, providers)
            hint = (
                f"set {' or '.join(missing)}"
                if missing
                else "its offers have retired, or it makes another kind of thing"
            )
            raise PersistentError(f"Nothing serves {model} now: {hint}.", code="not_configured", final=True)
        return route

    async def close(self) -> None:
        """Give the vendors' connections back."""
        for provider in self._doors.providers.values():
            await provider.close()


def _gravest(problems: list[StepError | StepParked]) -> StepError | StepParked:
    """Choose what the engine should hear: the shortest wait if waiting can help, else the first refusal.

    The first refusal is that of the model that was wanted; those behind it only say that its stand-ins failed too.
    """
    waits = [problem for problem in problems if isinstance(problem, StepParked)]
    if waits:
        return min(waits, key=lambda wait: wait.delay_s or 0.0)
    return problems[0]
