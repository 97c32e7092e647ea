"""Do model steps over the gateway."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.gateway.media_model import MediaCall
from app.gateway.model import ModelCall
from app.gateway.rendering import answer_life
from app.runs.input_images import read_images
from app.runs.ports import ModelOutcome
from app.workflows.variables import render, text_of

if TYPE_CHECKING:
    from app.gateway.media import MediaGateway
    from app.gateway.media_ports import JobLedger
    from app.gateway.model import EmbeddingCall, Embeddings, ModelAnswer
    from app.gateway.ports import CallLedger, OnText
    from app.gateway.service import Gateway
    from app.runs.claimed import Claimed
    from app.runs.ports import StepAssets
    from app.runs.system_prompts import SystemPrompts


MADE_KINDS = frozenset({"chat", "image", "video"})
"""Kinds of models that a step can ask here; a template leaves out what others would make."""


class GatewayModelSteps:
    """Turn a claimed step into one question, and its answer into the step's output.

    Args:
        gateway: the way to every model.
        prompts: what stands before every question.
        media: the way to models that make images and film.
        assets: images that steps begin from, and whose they are.
        timeout_s: most seconds for one request of a step that sets no limit.
        cache_ttl_s: seconds for which an answer is kept where a step wishes it and does not say how long.
        live_after_s: seconds that a question of a block in batch mode may wait before it is asked live.
        parallel_images: steps of one run that make images at once.
    """

    def __init__(  # noqa: PLR0913 - collaborators and limits, each by its name
        self,
        gateway: Gateway,
        prompts: SystemPrompts,
        *,
        media: MediaGateway,
        assets: StepAssets,
        timeout_s: float,
        cache_ttl_s: float = 3600,
        live_after_s: float = 86_400,
        parallel_images: int = 4,
    ) -> None:
        self._gateway = gateway
        self._prompts = prompts
        self._timeout_s = timeout_s
        self._cache_ttl_s = cache_ttl_s
        self._live_after_s = live_after_s
        self._media = media
        self._assets = assets
        self._parallel_images = parallel_images

    def slots_of(self, step: Claimed) -> tuple[tuple[str, int], ...]:
        """Name the places that a step needs: images a few at a time in a run, its films one by one."""
        kind = self._media.kind_of(step.task.target)
        if kind == "image":
            return ((f"images:{step.run_id}", self._parallel_images),)
        return ((f"film:{step.run_id}", 1),) if kind == "video" else ()

    async def perform(self, step: Claimed, ledger: JobLedger) -> ModelOutcome:
        """Ask the step's model, along its fallbacks.

        Raises:
            StepParked: money, rate or breaker do not let it be asked now.
            StepError: as the gateway says.
        """
        task, values = step.task, step.values
        config = render(task.config, values)
        images = read_images(render(task.input_image, values))
        await self._assets.refer(images, step.run_owner, step.holder)
        if self._media.kind_of(task.target) != "chat":
            return await self._make(step, config, images, ledger)
        call = ModelCall(
            model=task.target,
            prompt=text_of(render(task.prompt, values)),
            # From the document as it stands: no variable reaches the system's side.
            system=self._prompts.parts(task.target, task.config.get("addons") or ()),
            images=images,
            config=config,
            fallback=task.fallback or None,
            timeout_s=task.timeout_s or self._timeout_s,
            keep=answer_life(config, step.run_owner, self._cache_ttl_s),
            live_after_s=self._live_after_s if step.latency == "batch" else None,
        )
        answer = await self._gateway.complete(call, ledger)
        return ModelOutcome(answer.output, answer.model, cached=answer.cached)

    async def _make(
        self, step: Claimed, config: dict[str, Any], images: tuple[str, ...], ledger: JobLedger
    ) -> ModelOutcome:
        """Make images or a film; addons and system prompts are for models that answer in words."""
        task = step.task
        call = MediaCall(
            model=task.target,
            prompt=text_of(render(task.prompt, step.values)),
            owner=step.run_owner,
            holder=step.holder,
            config=config,
            images=images,
            fallback=task.fallback or None,
            timeout_s=task.timeout_s or self._timeout_s,
        )
        makes_film = self._media.kind_of(task.target) == "video"
        make = self._media.make_film if makes_film else self._media.make_images
        made = await make(call, ledger)
        return ModelOutcome(made.output, made.model)

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
