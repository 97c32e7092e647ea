"""The learning cycle's steps: train, score, tell the Generator and the base, settle."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy.exc

from app.errors import PersistentError, StepError, TransientError
from app.learning.giving_way import give_way
from app.learning.model import TrainingRows
from app.learning.ports import LibraryMissingError, TooFewSamplesError
from app.learning.preference import PREFERENCE
from app.learning.service import ScorerRegistry
from app.runs.ports import Handler, HandlerCatalog, StepContext, StepSummary
from app.settings import StudioSettings
from app.studio.cycle import LearningCycles
from app.studio.cycle_document import INSIGHTS, SCORE, SETTLE, TELL, TRAIN, WRITE
from app.studio.examples import build_examples
from app.studio.model import CycleEnd, join_sentences
from app.studio.ports import LearningParts
from app.studio.score_writing import ScoreWriter
from app.studio.scoring import StructureScoring, preference_vector
from app.studio.store import StudioStore

Owner = TypeVar("Owner")
Given = ParamSpec("Given")
Output = TypeVar("Output")

MARGIN_S = 30.0  # beside a service's own time limit: connecting, reading, storing
PLAIN_S = 120.0
WRITER_S = 600.0  # 30,000 structures in lots of 10, at five a second
BEST_PROMPTS = 3  # a structure, as the Optimizer gives them
PREVIEW_CHARS = 200
CLOSING_TRIES, CLOSING_PAUSE_S = 50, 0.2
_INTERNAL = "an internal fault; the run's steps show it."
_TITLES = {"train": "Training", "scores": "Scores", "preferences": "Generator", "written": "Writing"}


def _patient(
    call: Callable[Concatenate[Owner, Given], Output],
) -> Callable[Concatenate[Owner, Given], Output]:
    """Try a step again when the database was away: a restart must not end a cycle."""

    @functools.wraps(call)
    def tried(self: Owner, /, *args: Given.args, **kwargs: Given.kwargs) -> Output:
        try:
            return call(self, *args, **kwargs)
        except (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError, sqlalchemy.exc.TimeoutError):
            raise TransientError("The database did not answer.", code="storage_away") from None

    return tried


class LearningAgents:
    """The handlers of a cycle's steps.

    Args:
        store: the database.
        cycles: who is the cycle, and what becomes of its likes.
        registry: the versions.
        scoring: what scores structures here.
        parts: the services and the base, where they are configured.
        settings: numbers of the environment.
    """

    def __init__(
        self,
        store: StudioStore,
        cycles: LearningCycles,
        registry: ScorerRegistry,
        scoring: StructureScoring,
        parts: LearningParts,
        settings: StudioSettings,
    ) -> None:
        self._store = store
        self._cycles = cycles
        self._registry = registry
        self._scoring = scoring
        self._parts = parts
        self._settings = settings

    @_patient
    def train(self, ctx: StepContext, _given: dict[str, Any]) -> dict[str, Any]:
        """Train on every like that was taken by a cycle so far.

        Repeat-safe: a run trains one version, found again by the run; a service that is asked twice trains twice on
        the same likes. A run that is no longer the cycle trains nothing.
        """
        self._check_cycle(ctx.run_id)
        if self._parts.optimizer is not None:
            outcome = self._parts.optimizer.train()
            return {"status": outcome.status, "reason": outcome.reason, "metrics": dict(outcome.metrics)}
        known = self._registry.trained_by(PREFERENCE, ctx.run_id)
        if known is None:
            examples = give_way(self._examples)
            ctx.check_cancelled()
            try:
                known = self._registry.train(
                    PREFERENCE, examples, ctx.run_id, lambda connection: self._cycles.hold(connection, ctx.run_id)
                )
            except TooFewSamplesError as error:
                return {"status": "skipped", "reason": error.message, "metrics": None}
            except LibraryMissingError as error:
                return {"status": "skipped", "reason": error.message, "metrics": None, "problem": error.message}
        if known is None:
            raise _over()
        return known.outcome

    def _examples(self) -> TrainingRows:
        structures = self._store.catalogue.all_structures()
        return build_examples(structures, self._store.examples.shown(), self._store.examples.liked())

    @_patient
    def score(self, ctx: StepContext, given: dict[str, Any]) -> dict[str, Any]:
        """Score every structure anew.

        Repeat-safe: it writes the same scores over themselves; the history keeps only changes.
        """
        self._check_cycle(ctx.run_id)
        if self._parts.optimizer is None:
            scored = self._scoring.score_all(ctx.run_id)
            return {"source": scored.source, "count": scored.count, "degraded": list(scored.degraded)}
        if (given.get("training") or {}).get("status") == "skipped":
            return {"source": None, "count": 0, "degraded": []}
        answer = self._parts.optimizer.score_structures()
        self._store.scores.keep(answer.scores, answer.model_version, ctx.run_id)
        self._store.marks.set(ctx.run_id, "preference_vector", {"vector": dict(answer.preference_vector)})
        return {"source": answer.model_version, "count": len(answer.scores), "degraded": []}

    @_patient
    def gather_insights(self, ctx: StepContext, _given: dict[str, Any]) -> dict[str, Any]:
        """Gather which prompts of each structure were liked; none is no failure.

        Repeat-safe: it only reads.
        """
        self._check_cycle(ctx.run_id)
        if self._parts.optimizer is None:
            found = self._own_insights()
            return {"status": "computed" if found else "not_available", "insights": found}
        try:
            insights = self._parts.optimizer.read_insights()
        except StepError:
            insights = None
        return {"status": "not_available" if insights is None else "computed", "insights": insights or {}}

    def _own_insights(self) -> dict[str, Any]:
        records = {item.structure_id: item.record_id for item in self._store.catalogue.all_structures()}
        rates = self._store.scores.cached().scores
        found: dict[str, Any] = {}
        for row in self._store.examples.best_prompts(BEST_PROMPTS):
            key = records.get(row["structure_id"]) or row["structure_id"]
            entry = found.setdefault(key, {"top_prompts": [], "avg_success_rate": rates.get(row["structure_id"])})
            shown = {"prompt_preview": row["text"][:PREVIEW_CHARS], "success_rate": 1.0, "sample_count": row["liked"]}
            entry["top_prompts"].append(shown)
        return found

    @_patient
    def tell_generator(self, ctx: StepContext, given: dict[str, Any]) -> dict[str, Any]:
        """Hand the scores to the Generator, by record ids where known.

        Repeat-safe: the Generator writes them over what it has.
        """
        self._check_cycle(ctx.run_id)
        if self._parts.generator is None:
            return {"told": 0}
        structures = self._store.catalogue.all_structures()
        served = self._store.scores.cached().scores
        names = {item.structure_id: item.record_id or item.structure_id for item in structures}
        vector = self._store.marks.read(ctx.run_id, "preference_vector").get("vector")
        if vector is None:
            vector = preference_vector(structures, served)
        insights = (given.get("insights") or {}).get("insights") or {}
        told = self._parts.generator.update_preferences(
            {
                "global_preference_vector": vector,
                "exploration_rate": self._settings.exploration_rate,
                "structure_scores": {names.get(key, key): score for key, score in served.items()},
                "structure_prompt_insights": {names.get(str(key), str(key)): value for key, value in insights.items()},
            }
        )
        return {"told": told}

    @_patient
    def write_scores(self, ctx: StepContext, _given: dict[str, Any]) -> dict[str, Any]:
        """Write `optimizer_score` into the base, in lots of 10.

        Repeat-safe: the same scores are written over themselves.
        """
        self._check_cycle(ctx.run_id)
        if self._parts.base is None:
            return {"written": 0, "missing": 0}
        served = self._store.scores.cached().scores
        scores = {
            item.record_id: served[item.structure_id]
            for item in self._store.catalogue.all_structures()
            if item.record_id and item.usable and item.structure_id in served
        }
        return ScoreWriter(self._parts.base).write(scores, ctx.check_cancelled)

    @_patient
    def settle(self, ctx: StepContext, _given: dict[str, Any]) -> dict[str, Any]:
        """Say what came of the cycle: its likes are consumed, or free for the next.

        Repeat-safe: a cycle is settled once; later calls find it settled.
        """
        end = judge_cycle({step.key: step for step in ctx.earlier_steps()})
        cycle = self._cycles.settle(ctx.run_id, end)
        if cycle is None:
            raise _over()
        threading.Thread(target=self._close_soon, args=(ctx.run_id,), name="cycle-end", daemon=True).start()
        return {
            "status": cycle.status,
            "reason": cycle.reason,
            "metrics": cycle.metrics,
            "likes": cycle.likes_taken,
            "problem": end.error,
        }

    def _close_soon(self, run_id: str) -> None:
        """Start the next cycle, if likes have queued for one, when this one's run has ended; others look as well."""
        pause = threading.Event()
        for _ in range(CLOSING_TRIES):
            pause.wait(CLOSING_PAUSE_S)
            try:
                if self._cycles.close_ended(run_id):
                    return
            except sqlalchemy.exc.SQLAlchemyError:
                continue

    def _check_cycle(self, run_id: str) -> None:
        """Refuse to work for a run that is not the cycle: one that was retried, or somebody's own document."""
        cycle = self._store.cycles.find(run_id)
        if cycle is None or cycle.over:
            raise _over()


def judge_cycle(steps: dict[str, StepSummary]) -> CycleEnd:
    """Say how a cycle ended, from what its steps did.

    A model that was trained has used its likes, also when its scores did not reach everybody: the error says whom.
    """
    training = steps.get("train")
    output = training.output if training is not None and isinstance(training.output, dict) else {}
    failures = [_explain(step) for key, step in steps.items() if key in _TITLES and step.error is not None]
    missing = [str(step.output["problem"]) for step in steps.values() if _has_problem(step)]
    error = join_sentences([*failures, *missing])
    status = str(output.get("status") or "failed")
    if status == "failed":
        reason = error or join_sentences([str(output.get("reason") or "The training did not end well.")])
        return CycleEnd("failed", reason, output.get("metrics"), reason)
    if status == "skipped":
        return CycleEnd("skipped", output.get("reason"), output.get("metrics"), error)
    scores = steps.get("scores")
    if scores is not None and scores.error is not None:
        return CycleEnd("failed", error, output.get("metrics"), error)
    return CycleEnd(status, output.get("reason"), output.get("metrics"), error)


def _has_problem(step: StepSummary) -> bool:
    return isinstance(step.output, dict) and bool(step.output.get("problem"))


def _explain(step: StepSummary) -> str:
    error = step.error or {}
    internal = error.get("code") in {None, "fatal", "internal"}
    words = (
        "an internal fault; the run's steps show it." if internal else str(error.get("message") or "no reason given.")
    )
    return f"{_TITLES[step.key]}: {words}"


def _over() -> PersistentError:
    return PersistentError("This run is not the learning cycle that is under way.", code="cycle_over")


def register_learning_handlers(catalog: HandlerCatalog, agents: LearningAgents, settings: StudioSettings) -> None:
    """Add the cycle's agents to the installation's."""
    score_s = settings.score_timeout_s + MARGIN_S
    entries: Sequence[tuple[str, Callable[[StepContext, dict[str, Any]], Any], float, str]] = (
        (TRAIN, agents.train, settings.train_timeout_s + MARGIN_S, "Trains the structures' scorer"),
        (SCORE, agents.score, score_s, "Scores every structure with what was learned"),
        (INSIGHTS, agents.gather_insights, score_s, "Gathers which prompts were liked"),
        (TELL, agents.tell_generator, settings.update_timeout_s + MARGIN_S, "Hands the scores to the Generator"),
        (WRITE, agents.write_scores, WRITER_S, "Writes the scores into the base"),
        (SETTLE, agents.settle, PLAIN_S, "Says what came of a learning cycle, and counts its likes"),
    )
    for name, call, timeout_s, purpose in entries:
        catalog.agent(Handler(name, call, timeout_s=timeout_s, purpose=purpose))
