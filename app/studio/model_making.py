"""Ideas and prompts by models as steps: ask, keep what can be used, say what is missing, buy nothing twice.

Every question of a step has a number. A try after a crash finds the answers of earlier ones by it, and what a number
meant (the structures of a slice) is kept with the step before it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.errors import LogicalError, StepError, StepParked
from app.runs.waiting import in_thread
from app.studio.making import FALLBACK_ATTEMPT
from app.studio.model import fingerprint
from app.studio.model_generator import MODEL as PROMPT_MODEL
from app.studio.model_generator import Planned, plan_slice
from app.studio.model_strategist import MODEL as IDEA_MODEL
from app.studio.model_strategist import MOST_PROMPTS, MOST_RECENT, IdeaBrief
from app.studio.scoring import preference_vector

if TYPE_CHECKING:
    from app.runs.ports import ModelContext
    from app.studio.making import IdeaMaking, Makers, PromptMaking
    from app.studio.model_generator import ModelGenerator, Written
    from app.studio.model_strategist import ModelStrategist, Proposed
    from app.studio.ports import IdeaRequest, PromptRequest
    from app.studio.store import StudioStore

QUESTIONS = 2  # a slice's, and once more for the places whose texts could not be used
NOT_ASKED = "Its models are not asked at the moment, since they failed too often."
JOURNALS_OWN = frozenset({"budget", "fenced"})


class ModelIdeaMaking:
    """Makes the ideas of a step by a model.

    Args:
        store: the database.
        makers: says whether the plain way may stand in.
        strategist: asks the model.
        plain: reads the step's input, shows its output, and fills in.
    """

    def __init__(self, store: StudioStore, makers: Makers, strategist: ModelStrategist, plain: IdeaMaking) -> None:
        self._store = store
        self._makers = makers
        self._strategist = strategist
        self._plain = plain

    async def make(self, context: ModelContext, given: dict[str, Any]) -> dict[str, Any]:
        """Make them, or find those that an earlier try of this step has made.

        Repeat-safe: the model's answer is found in the ledger, and ideas that this step has stored are its own.
        """
        brief = await in_thread(self._begin, context, given)
        if brief is not None:
            try:
                proposed = await self._strategist.propose(context, brief)
            except (StepError, StepParked) as problem:
                why = _reason_to_fill_in(self._makers, context.attempt, problem)
                await in_thread(self._fill_in, context, brief.request, why)
            else:
                await in_thread(self._keep, context, brief.request, proposed)
        return await in_thread(self._show, context)

    def _begin(self, context: ModelContext, given: dict[str, Any]) -> IdeaBrief | None:
        """Gather what is asked; None when this step's ideas are there."""
        request = self._plain.read_request(context, given)
        mark = self._store.marks.read(context.run_id, context.step_key)
        if "total" in mark or request.count == 0:
            return None
        if self._store.ideas.made_by(context.run_id, context.step_key):
            self._close(context, request, mark)  # killed between the ideas and their number
            return None
        known = request.known
        recent = self._store.ideas.list_ideas(None, 1, MOST_RECENT).items
        liked = preference_vector(list(known.structures), dict(known.scores))
        best = sorted(self._store.examples.best_prompts(1), key=lambda row: (-row["liked"], row["structure_id"]))
        return IdeaBrief(
            request,
            tuple((idea["skeleton"], idea["status"] == "declined") for idea in recent),
            liked,
            tuple((row["structure_id"], row["text"], row["liked"]) for row in best[:MOST_PROMPTS]),
        )

    def _keep(self, context: ModelContext, request: IdeaRequest, proposed: Proposed) -> None:
        away = f"ideas: {IDEA_MODEL} was not to be had; {proposed.model} wrote"
        notes = [] if proposed.model == IDEA_MODEL else [away]
        refused = sum(proposed.refused.values())
        if refused:
            notes.append(f"ideas: {refused} proposals were left out ({'; '.join(proposed.refused)})")
        mark = {"source": proposed.model, "rationales": dict(proposed.rationales), "degraded": notes}
        self._store.marks.set(context.run_id, context.step_key, mark)
        self._store.ideas.keep(context.run_id, context.step_key, proposed.drafts, only_new=True)
        self._close(context, request, mark)

    def _close(self, context: ModelContext, request: IdeaRequest, mark: dict[str, Any]) -> None:
        """Write down how many there are, and what is missing."""
        total = len(self._store.ideas.made_by(context.run_id, context.step_key))
        if total < request.count:
            lost = f"{request.count - total} of {request.count} ideas are missing"
            mark = {**mark, "problem": f"{lost}: no more that could be used were proposed"}
        self._store.marks.set(context.run_id, context.step_key, {**mark, "total": total})

    def _fill_in(self, context: ModelContext, request: IdeaRequest, why: str) -> None:
        note = "ideas: the model failed; plain rules filled in"
        self._plain.fill_plainly(context, request, {"source": "plain", "degraded": [note], "problem": f"Ideas: {why}"})

    def _show(self, context: ModelContext) -> dict[str, Any]:
        shown = self._plain.show(context)
        rationales = self._store.marks.read(context.run_id, context.step_key).get("rationales", {})
        for idea in shown["ideas"]:
            idea["rationale"] = rationales.get(fingerprint(idea["skeleton"]))
        return shown


@dataclass(frozen=True)
class _Slice:
    """What a step is to write: its request, its places, and what an earlier try said when it ended."""

    request: PromptRequest
    plan: tuple[Planned, ...]
    ended: Mapping[str, Any] | None

    def without(self, places: set[int]) -> list[Planned]:
        return [item for item in self.plan if item.place not in places]


class ModelPromptMaking:
    """Makes the prompts of a slice by a model.

    Args:
        store: the database.
        makers: says whether the plain way may stand in.
        generator: asks the model.
        plain: reads the step's input, shows its output, and fills in.
    """

    def __init__(self, store: StudioStore, makers: Makers, generator: ModelGenerator, plain: PromptMaking) -> None:
        self._store = store
        self._makers = makers
        self._generator = generator
        self._plain = plain

    async def make(self, context: ModelContext, given: dict[str, Any]) -> dict[str, Any]:
        """Make them, or find those that an earlier try of this step has made.

        Repeat-safe: the model's answers are found in the ledger, and mean what the plan kept with the step says.
        """
        work = await in_thread(self._begin, context, given)
        ended = work.ended
        if ended is None:
            try:
                ended = await self._write(context, work)
            except (StepError, StepParked) as problem:
                why = _reason_to_fill_in(self._makers, context.attempt, problem)
                await in_thread(self._plain.fill_plainly, context, work.request)
                ended = {"degraded": ["prompts: the model failed; plain rules filled in"], "problem": f"Prompts: {why}"}
            await in_thread(self._end, context, work, ended)
        return await in_thread(self._plain.show, context, ended["degraded"], ended["problem"])

    def _begin(self, context: ModelContext, given: dict[str, Any]) -> _Slice:
        """Plan the slice, or find the plan of an earlier try: scores may have changed since."""
        request = self._plain.read_request(context, given)
        mark = self._store.marks.read(context.run_id, context.step_key)
        if "plan" in mark:
            return _Slice(request, tuple(map(Planned.from_json, mark["plan"])), mark.get("ended"))
        plan = tuple(plan_slice(request))
        self._store.marks.set(context.run_id, context.step_key, {"plan": [item.to_json() for item in plan]})
        return _Slice(request, plan, None if plan else {"degraded": [], "problem": None})

    async def _write(self, context: ModelContext, work: _Slice) -> dict[str, Any]:
        """Ask for the slice, and once more for what could not be used.

        Raises:
            StepParked: as the gateway says.
            StepError: nothing could be had.
        """
        written = await self._generator.write(context, work.request.renderer, work.plan)
        notes = _stand_in_notes(written)
        missing = work.without(await in_thread(self._keep, context, written))
        for part in range(1, QUESTIONS):
            if not missing:
                break
            problems = {item.number: written.problems.get(item.number, "it was used lately") for item in missing}
            try:
                written = await self._generator.write(
                    context, work.request.renderer, missing, part=part, problems=problems
                )
            except StepError as error:
                if error.retryable and context.attempt < FALLBACK_ATTEMPT:
                    raise
                break  # what there is counts more than what cannot be had
            notes += _stand_in_notes(written)
            missing = work.without(await in_thread(self._keep, context, written))
        return _conclude(work.plan, missing, written.problems, notes)

    def _keep(self, context: ModelContext, written: Written) -> set[int]:
        """Store what can be used; gives the places that have a prompt now."""
        self._store.prompts.keep(context.run_id, context.step_key, written.drafts, only_new=True)
        return {row["place"] for row in self._store.prompts.made_by(context.run_id, context.step_key)}

    def _end(self, context: ModelContext, work: _Slice, ended: Mapping[str, Any]) -> None:
        mark = {"plan": [item.to_json() for item in work.plan], "ended": dict(ended)}
        self._store.marks.set(context.run_id, context.step_key, mark)


def _conclude(
    plan: Sequence[Planned], missing: Sequence[Planned], problems: Mapping[int, str], notes: list[str]
) -> dict[str, Any]:
    """Say what is missing of a slice; one without any prompt has failed."""
    if not missing:
        return {"degraded": list(dict.fromkeys(notes)), "problem": None}
    reasons = dict.fromkeys(problems.get(item.number, "it was used lately") for item in missing)
    why = f"{PROMPT_MODEL} wrote texts that cannot be used: {'; '.join(reasons)}"
    if len(missing) == len(plan):
        raise LogicalError(f"{why}.", code="unusable_answer", final=True)
    problem = f"{len(missing)} prompts of a slice of {len(plan)} are missing: {why}"
    return {"degraded": list(dict.fromkeys(notes)), "problem": problem}


def _stand_in_notes(written: Written) -> list[str]:
    if written.model == PROMPT_MODEL:
        return []
    return [f"prompts: {PROMPT_MODEL} was not to be had; {written.model} wrote"]


def _reason_to_fill_in(makers: Makers, attempt: int, problem: StepError | StepParked) -> str:
    """Say why the plain way fills in.

    Raises:
        StepParked: it may not, or not yet: the step waits.
        StepError: it may not, or not yet.
    """
    if isinstance(problem, StepParked):
        if not makers.fallback or problem.reason != "breaker":
            raise problem
        return NOT_ASKED
    if not makers.may_fall_back(attempt, problem):
        raise problem
    return problem.message


class Warming:
    """Warms the vendor's cache before slices go out side by side.

    Args:
        generator: asks the model.
        default_renderer: where the step is not told one.
    """

    def __init__(self, generator: ModelGenerator, default_renderer: str) -> None:
        self._generator = generator
        self._default_renderer = default_renderer

    async def warm(self, context: ModelContext, given: dict[str, Any]) -> dict[str, Any]:
        """Ask for nothing much. A model that does not answer is left cold: the slices will tell.

        Repeat-safe: the answer is found in the ledger, and nobody uses it.
        """
        renderer = given.get("renderer")
        try:
            await self._generator.warm_up(context, renderer if isinstance(renderer, str) else self._default_renderer)
        except StepParked as parked:
            if parked.reason in JOURNALS_OWN:
                raise
            return {"awake": False}
        except StepError:
            return {"awake": False}
        return {"awake": True}
