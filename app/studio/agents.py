"""The studio's agents: the steps that batches, and any other workflow, are made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from app.errors import StepError, StepParked
from app.runs.ports import Handler, HandlerCatalog, ModelContext, StepContext
from app.settings import StudioSettings
from app.studio.cycle import LearningCycles
from app.studio.making import FALLBACK_ATTEMPT, IdeaMaking, Makers, PromptMaking
from app.studio.model import (
    BATCH_DISABLED,
    IDEA_WINDOW,
    RATES,
    RETRAIN_IN_PROGRESS,
    SCORES_FRESH,
    Asked,
    Numbers,
    SettingsRecord,
    cut_slices,
    resolve_numbers,
)
from app.studio.model_making import ModelIdeaMaking, ModelPromptMaking, Warming
from app.studio.ports import StudioBase
from app.studio.report import BatchReporter
from app.studio.scoring import StructureScoring
from app.studio.starter import starter_structures
from app.studio.store import StudioStore
from app.studio.writing import PromptWriter

CONNECT_MARGIN_S = 30  # beside a service's own time limit: connecting, reading, storing
MODEL_TIMEOUT_S = 900.0  # a slow model, asked again twice for an answer that can be used
WRITER_TIMEOUT_S = 300.0  # 500 prompts and their history are a hundred requests, at five a second
PLAIN_TIMEOUT_S = 60.0
_WAIT_S = 1.0  # a batch looks after its learning cycle so often, and holds no worker in between
Maker = Callable[[ModelContext, dict[str, Any]], Any]
_QUEUED_S = 120.0  # a cycle that is not admitted for so long leaves the batch to go on without it


class StudioAgents:
    """The handlers of the studio's steps.

    Args:
        store: the database.
        makers: services or plain rules.
        base: Airtable; None without.
        settings: numbers of the environment.
        cycles: the learning cycles.
        scoring: what scores structures where no Optimizer is configured.
    """

    def __init__(
        self,
        store: StudioStore,
        makers: Makers,
        base: StudioBase | None,
        settings: StudioSettings,
        cycles: LearningCycles,
        scoring: StructureScoring,
    ) -> None:
        self._store = store
        self._cycles = cycles
        self._scoring = scoring
        self._makers = makers
        self._base = base
        self._settings = settings
        self._ideas = IdeaMaking(store, makers, settings)
        self._prompts = PromptMaking(store, makers, settings)
        strategist, generator = makers.model_strategist, makers.model_generator
        self._idea_models = strategist and ModelIdeaMaking(store, makers, strategist, self._ideas)
        self._prompt_models = generator and ModelPromptMaking(store, makers, generator, self._prompts)
        self._warming = generator and Warming(generator, settings.default_renderer)
        self._reporter = BatchReporter(store, settings.like_threshold, writes=base is not None and base.has_prompts)

    def read_settings(self, ctx: StepContext, given: dict[str, Any]) -> dict[str, Any]:
        """Decide how much a batch makes.

        A base that cannot be read is asked once more; then the environment's numbers serve, and the answer says so.

        Repeat-safe: it only reads.
        """
        asked, daily = Asked.from_json(given.get("asked") or {}), given.get("batch") != "manual"
        if not self._cycles.close_ended():
            return self._refuse(asked, RETRAIN_IN_PROGRESS)
        problem = None
        record = SettingsRecord()
        if self._base is not None and self._base.has_settings and (daily or asked.renderer is None):
            try:
                record = self._base.read_settings()
            except StepError as error:
                if error.retryable and ctx.attempt < FALLBACK_ATTEMPT:
                    raise
                problem = f"Settings: {error.message} The environment's numbers were used"
        if daily and not record.enabled:
            return self._refuse(asked, BATCH_DISABLED)
        numbers, notes = resolve_numbers(
            asked, record if daily else SettingsRecord(renderer=record.renderer), self._defaults()
        )
        ideas = numbers.num_ideas if daily else 0
        return {
            "enabled": True,
            "refusal": None,
            "num_ideas": ideas,
            "num_prompts": numbers.num_prompts,
            "renderer": numbers.renderer,
            "slices": cut_slices(numbers.num_prompts),
            "degraded": [*record.notes, *notes] if daily else list(notes),
            "problem": problem,
        }

    def _refuse(self, asked: Asked, refusal: str) -> dict[str, Any]:
        return {
            "enabled": False,
            "refusal": refusal,
            "num_ideas": 0,
            "num_prompts": 0,
            "renderer": asked.renderer or self._settings.default_renderer,
            "slices": [],
            "degraded": [],
            "problem": None,
        }

    def _defaults(self) -> Numbers:
        settings = self._settings
        return Numbers(settings.default_batch_ideas, settings.default_num_prompts, settings.default_renderer)

    def sync_structures(self, _ctx: StepContext, _given: dict[str, Any]) -> dict[str, Any]:
        """Take over the base's structures, designers and garments as they are now.

        Repeat-safe: it writes what the base says over what is stored.
        """
        return sync_catalogue(self._store, self._base)

    def gate_learning(self, ctx: StepContext, given: dict[str, Any]) -> dict[str, Any]:
        """Start a learning cycle when one is due or asked for, and wait for it without holding a worker.

        Repeat-safe: the cycle a batch has started is found again by the batch's run.
        """
        forced = Asked.from_json(given.get("asked") or {}).force_retrain
        self._cycles.close_ended()
        cycle = self._cycles.join_for_batch(ctx.run_id, ctx.owner, forced=forced)
        if cycle is None:
            return {"due": False, "tried": False, "result": None, "degraded": []}
        if not cycle.over:
            if cycle.age_s < _QUEUED_S or self._cycles.is_running(cycle.run_id):
                raise StepParked("learning", delay_s=_WAIT_S)
            return {**_TRIED, "result": None, "degraded": ["learning: the cycle waits for its turn"]}
        said: dict[str, Any] = {"degraded": [], "problem": None}
        if cycle.status == "skipped":
            said["degraded"] = [f"learning: {cycle.reason}"]
        elif cycle.status not in {"trained", "kept_previous"}:
            said["problem"] = f"Learning: {cycle.reason or 'the cycle failed.'}"
        return {**_TRIED, "result": _RESULTS.get(cycle.status, "failed"), "cycle": cycle.run_id, **said}

    def score_structures(self, ctx: StepContext, _given: dict[str, Any]) -> dict[str, Any]:
        """Refresh the scores: the Optimizer's when they are a day old, else with our own scorer or smoothed like rates.

        An installation without any structure begins with the starter catalogue here at the latest.

        Repeat-safe: it writes the same scores over themselves; the history keeps only changes.
        """
        if self._base is None or not self._base.has_structures:
            self._store.catalogue.put_starter(starter_structures())
        optimizer = self._makers.optimizer
        if optimizer is None:
            scored = self._scoring.score_all(ctx.run_id)
            return {"source": scored.source, "count": scored.count, "degraded": list(scored.degraded)}
        cached = self._store.scores.cached()
        learned = cached.scores and cached.model_version != RATES
        if learned and cached.age_s is not None and cached.age_s < SCORES_FRESH.total_seconds():
            return {"source": cached.model_version, "count": len(cached.scores), "degraded": []}
        try:
            answer = optimizer.score_structures()
        except StepError as error:
            if not self._makers.may_fall_back(ctx.attempt, error) or learned:
                raise
            return self._score_by_rates(
                ctx, "scores: the Optimizer failed; like rates, smoothed, filled in", error.message
            )
        self._store.scores.keep(answer.scores, answer.model_version, ctx.run_id)
        notes = [answer.note] if answer.note else []
        return {"source": answer.model_version, "count": len(answer.scores), "degraded": notes}

    def _score_by_rates(self, ctx: StepContext, note: str, problem: str | None = None) -> dict[str, Any]:
        scores, _ = self._store.scores.rates(self._store.catalogue.all_structures())
        self._store.scores.keep(scores, RATES, ctx.run_id)
        return {"source": RATES, "count": len(scores), "degraded": [note], "problem": problem}

    def propose_ideas(self, ctx: StepContext, given: dict[str, Any]) -> dict[str, Any]:
        """Let the Strategist propose ideas, and store them.

        Repeat-safe: ideas that this step has stored are its answer. A remote Strategist that was asked and never
        answered may have made ideas of its own, so it is not asked again.
        """
        return self._ideas.make(ctx, given)

    def warm_up_generator(self, _ctx: StepContext, _given: dict[str, Any]) -> dict[str, Any]:
        """Wake a Generator that sleeps; one that sleeps on is no failure yet.

        Repeat-safe: it only asks for its health.
        """
        return {"awake": self._makers.generator.warm_up()}

    def make_prompts(self, ctx: StepContext, given: dict[str, Any]) -> dict[str, Any]:
        """Let the Generator write one slice of a batch, and store it.

        Repeat-safe: prompts that this step has stored are its answer; the plain rules fill only places that are empty.
        A remote Generator that was killed in flight is asked again: it keeps nothing.
        """
        return self._prompts.make(ctx, given)

    @property
    def idea_maker(self) -> Maker:
        """What a Strategist's step does: a model's way where there is one."""
        return self._idea_models.make if self._idea_models else self.propose_ideas

    @property
    def prompt_maker(self) -> Maker:
        """What a Generator's step does: a model's way where there is one."""
        return self._prompt_models.make if self._prompt_models else self.make_prompts

    @property
    def warmer(self) -> Maker:
        """What goes before a Generator's steps."""
        return self._warming.warm if self._warming else self.warm_up_generator

    def write_prompts(self, ctx: StepContext, _given: dict[str, Any]) -> dict[str, Any]:
        """Write the run's prompts and their history into the base; without one, the stored rows are what is written.

        Repeat-safe: rows with a record id are left alone, rows that were sent in doubt are looked up first.
        """
        if self._base is None or not self._base.has_prompts:
            return {"written": len(self._store.prompts.made_in(ctx.run_id)), "to": "database"}
        writer = PromptWriter(self._store.prompts, self._base)
        return {"written": writer.write_run(ctx.run_id, ctx.check_cancelled), "to": "airtable"}

    def report_batch(self, ctx: StepContext, given: dict[str, Any]) -> dict[str, Any]:
        """Say what came of the run, and count it.

        Repeat-safe: the batch's entry is written over, the counters move once.
        """
        return self._reporter.report(ctx, "manual" if given.get("batch") == "manual" else "daily")


def sync_catalogue(store: StudioStore, base: StudioBase | None) -> dict[str, Any]:
    """Take over a base's structures, designers and garments.

    Returns:
        How many of each were read, and how many structures are gone; None for what the base does not keep.
    """
    counts: dict[str, Any] = {"structures": None, "removed": None, "designers": None, "garments": None}
    if base is None:
        return counts
    if base.has_structures:
        structures = base.read_structures()
        counts |= {"structures": len(structures), "removed": store.catalogue.replace_from_base(structures)}
    for what, read in (("designers", base.read_designers), ("garments", base.read_garments)):
        named = read()
        if named is not None:
            store.catalogue.replace_named(what, named)
            counts[what] = len(named)
    return counts


def register_handlers(catalog: HandlerCatalog, agents: StudioAgents, settings: StudioSettings) -> None:
    """Add the studio's agents to the installation's."""
    warm_up_s = 2 * settings.warmup_timeout_s + CONNECT_MARGIN_S
    strategist_s = settings.strategist_timeout_s + warm_up_s
    generator_s = settings.generator_timeout_s + CONNECT_MARGIN_S
    entries: Sequence[tuple[str, Maker, float, str]] = (
        (
            "batch_settings",
            agents.read_settings,
            PLAIN_TIMEOUT_S * 2,
            "How much a batch makes, from request, base and environment",
        ),
        ("structure_sync", agents.sync_structures, PLAIN_TIMEOUT_S * 2, "Takes over the base's structures"),
        ("learning_gate", agents.gate_learning, PLAIN_TIMEOUT_S, "Whether a learning cycle is due"),
        (
            "structure_scores",
            agents.score_structures,
            settings.score_timeout_s + CONNECT_MARGIN_S,
            "Refreshes the structures' scores",
        ),
        ("strategist", agents.idea_maker, _limit_s(agents.idea_maker, strategist_s), "Proposes new structures"),
        ("generator_warm_up", agents.warmer, warm_up_s, "Wakes a sleeping Generator, or warms a vendor's cache"),
        ("generator", agents.prompt_maker, _limit_s(agents.prompt_maker, generator_s), "Writes a slice of prompts"),
        ("prompt_writer", agents.write_prompts, WRITER_TIMEOUT_S, "Writes prompts and history into the base"),
        ("batch_report", agents.report_batch, PLAIN_TIMEOUT_S, "Says what came of a batch, and counts it"),
    )
    for name, call, timeout_s, purpose in entries:
        catalog.agent(Handler(name, call, timeout_s=timeout_s, purpose=purpose))


def _limit_s(call: Maker, service_s: float) -> float:
    """Give a step's time limit: a model's way, which runs on the loop, has another than a service's."""
    return MODEL_TIMEOUT_S if inspect.iscoroutinefunction(call) else service_s


_TRIED = {"due": True, "tried": True}
_RESULTS = {"trained": "completed", "kept_previous": "completed", "skipped": "skipped"}
MARKS_KEPT = timedelta(days=2 * IDEA_WINDOW.days)
