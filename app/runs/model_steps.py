"""Do model steps over the gateway."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.errors import FatalError
from app.gateway.model import ModelCall
from app.gateway.rendering import answer_life
from app.runs.ports import ModelOutcome
from app.workflows.variables import render, text_of

if TYPE_CHECKING:
    from app.gateway.model import EmbeddingCall, Embeddings, ModelAnswer
    from app.gateway.ports import CallLedger, OnText
    from app.gateway.service import Gateway
    from app.runs.claimed import Claimed
    from app.runs.system_prompts import SystemPrompts


MADE_KINDS = frozenset({"chat"})
"""Kinds of models that a step can ask here; a template leaves out what others would make."""


class GatewayModelSteps:
    """Turn a claimed step into one question, and its answer into the step's output.

    Args:
        gateway: the way to every model.
        prompts: what stands before every question.
        timeout_s: most seconds for one request of a step that sets no limit.
        cache_ttl_s: seconds for which an answer is kept where a step wishes it and does not say how long.
        live_after_s: seconds that a question of a block in batch mode may wait before it is asked live.
    """

    def __init__(
        self,
        gateway: Gateway,
        prompts: SystemPrompts,
        *,
        timeout_s: float,
        cache_ttl_s: float = 3600,
        live_after_s: float = 86_400,
    ) -> None:
        self._gateway = gateway
        self._prompts = prompts
        self._timeout_s = timeout_s
        self._cache_ttl_s = cache_ttl_s
        self._live_after_s = live_after_s

    async def perform(self, step: Claimed, ledger: CallLedger) -> ModelOutcome:
        """Ask the step's model, along its fallbacks.

        Raises:
            StepParked: money, rate or breaker do not let it be asked now.
            StepError: as the gateway says.
        """
        task, values = step.task, step.values
        config = render(task.config, values)
        call = ModelCall(
            model=task.target,
            prompt=text_of(render(task.prompt, values)),
            # From the document as it stands: no variable reaches the system's side.
            system=self._prompts.parts(task.target, task.config.get("addons") or ()),
            images=_images(render(task.input_image, values)),
            config=config,
            fallback=task.fallback or None,
            timeout_s=task.timeout_s or self._timeout_s,
            keep=answer_life(config, step.run_owner, self._cache_ttl_s),
            live_after_s=self._live_after_s if step.latency == "batch" else None,
        )
        answer = await self._gateway.complete(call, ledger)
        return ModelOutcome(answer.output, answer.model, cached=answer.cached)

    async def embed(self, call: EmbeddingCall, ledger: CallLedger) -> Embeddings:
        """Place a handler's texts in a model's space; errors as `perform`."""
        return await self._gateway.embed(call, ledger)

    async def ask(
        self, call: ModelCall, ledger: CallLedger, on_text: OnText | None = None, *, patient: bool = False
    ) -> ModelAnswer:
        """Ask what a handler wants to know; errors as `perform`."""
        if patient:
            call = replace(call, live_after_s=self._live_after_s)
        return await self._gateway.complete(call, ledger, on_text)


def _images(rendered: Any) -> tuple[str, ...]:
    if rendered is None or rendered == "":
        return ()
    if not isinstance(rendered, str) or not rendered.startswith("data:image/"):
        raise FatalError("input_image must be a data URI of an image.", code="image_invalid")
    return (rendered,)
