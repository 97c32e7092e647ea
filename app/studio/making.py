"""Ideas and prompts as steps: ask whoever is set to make them, store what came, never twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.errors import PersistentError, StepError
from app.runs.ports import StepContext
from app.settings import StudioSettings
from app.studio.model import IDEA_WINDOW, MAX_IDEAS, MAX_RENDERER_CHARS, SLICE_SIZE, PromptDraft, clean
from app.studio.model_generator import ModelGenerator
from app.studio.model_strategist import ModelStrategist
from app.studio.ports import Generator, IdeaRequest, Known, Optimizer, PromptRequest, Strategist
from app.studio.store import StudioStore

FALLBACK_ATTEMPT = 2  # a service is asked twice before the plain way, or the environment, stands in for it
MOST_DRAWS = 12  # rounds of other words for prompts whose words were used lately
IDEA_ROUNDS = 3


@dataclass(frozen=True)
class Makers:
    """Who makes what. The plain ones stand in where `fallback` is set and a configured one fails.

    A model's way, where there is one, goes before `strategist` and `generator`, which are then the plain ones.
    """

    strategist: Strategist
    generator: Generator
    optimizer: Optimizer | None
    plain_strategist: Strategist
    plain_generator: Generator
    fallback: bool = False
    model_strategist: ModelStrategist | None = None
    model_generator: ModelGenerator | None = None

    def may_fall_back(self, attempt: int, error: StepError) -> bool:
        """Whether the plain way may stand in for a service that failed so, on this attempt of its step."""
        return self.fallback and (not error.retryable or attempt >= FALLBACK_ATTEMPT)


class IdeaMaking:
    """Makes the ideas of a step."""

    def __init__(self, store: StudioStore, makers: Makers, settings: StudioSettings) -> None:
        self._store = store
        self._makers = makers
        self._settings = settings

    def make(self, ctx: StepContext, given: dict[str, Any]) -> dict[str, Any]:
        """Make them, or find those that an earlier try of this step has made."""
        mark = self._store.marks.read(ctx.run_id, ctx.step_key)
        request = self.read_request(ctx, given)
        if "total" not in mark and request.count > 0:
            self._make_ideas(ctx, request, mark)
        return self.show(ctx)

    def show(self, ctx: StepContext) -> dict[str, Any]:
        """Give what this step has made so far, as its output."""
        mark = self._store.marks.read(ctx.run_id, ctx.step_key)
        ideas = self._store.ideas.made_by(ctx.run_id, ctx.step_key)
        shown = [
            {
                "idea_id": str(idea["idea_id"]),
                "skeleton": idea["skeleton"],
                "renderer": idea["renderer"],
                "attributes": idea["attributes"],
                "parent": idea["parent"],
            }
            for idea in ideas
        ]
        return {
            "count": mark.get("total", 0),
            "source": mark.get("source"),
            "ideas": shown,
            "degraded": mark.get("degraded", []),
            "problem": mark.get("problem"),
        }

    def read_request(self, ctx: StepContext, given: dict[str, Any]) -> IdeaRequest:
        """Read what the step was given, and gather what ideas may build on.

        Raises:
            PersistentError: the number is none.
        """
        return IdeaRequest(
            count=_read_count(given.get("count", self._settings.default_batch_ideas), MAX_IDEAS),
            seed=f"{ctx.run_id}:{ctx.step_key}",
            known=known_things(self._store),
            exploration_rate=self._settings.exploration_rate,
            renderer=_read_renderer(given, ""),
            taken=frozenset(self._store.catalogue.fingerprints() | self._store.ideas.recent_fingerprints()),
        )

    def _make_ideas(self, ctx: StepContext, request: IdeaRequest, mark: dict[str, Any]) -> dict[str, Any]:
        strategist = self._makers.strategist
        if not strategist.remote:
            note = "ideas: recombined by plain rules, without a model or service"
            return self.fill_plainly(ctx, request, {"source": strategist.name, "degraded": [note]})
        if mark.get("asked"):
            raise PersistentError(
                "The Strategist's answer was lost; it is not asked again, since it may have made ideas.",
                code="service_in_doubt",
            )
        self._store.marks.set(ctx.run_id, ctx.step_key, {"asked": True})
        try:
            answer = strategist.propose_ideas(request)
        except StepError as error:
            return self._after_failed_strategist(ctx, request, error)
        self._store.ideas.keep(ctx.run_id, ctx.step_key, answer.ideas, only_new=False)
        done = {"asked": True, "source": strategist.name, "total": answer.total}
        self._store.marks.set(ctx.run_id, ctx.step_key, done)
        return done

    def _after_failed_strategist(self, ctx: StepContext, request: IdeaRequest, error: StepError) -> dict[str, Any]:
        in_doubt = error.details.get("executed", False) is not False
        if not in_doubt:
            self._store.marks.set(ctx.run_id, ctx.step_key, {})
        if self._makers.fallback and (in_doubt or self._makers.may_fall_back(ctx.attempt, error)):
            note = "ideas: the Strategist failed; plain rules filled in"
            return self.fill_plainly(ctx, request, {"source": "plain", "degraded": [note], "problem": error.message})
        if in_doubt:
            raise PersistentError(
                f"{error.message} It is not asked again, since it may have made ideas.", code=error.code
            ) from None
        raise error

    def fill_plainly(self, ctx: StepContext, request: IdeaRequest, mark: dict[str, Any]) -> dict[str, Any]:
        """Store ideas until there are enough; a concurrent batch may have taken some of them at this moment."""
        for round_number in range(IDEA_ROUNDS):
            missing = request.count - len(self._store.ideas.made_by(ctx.run_id, ctx.step_key))
            if missing <= 0:
                break
            taken = request.taken if round_number == 0 else request.taken | self._store.ideas.recent_fingerprints()
            again = IdeaRequest(**{**request.__dict__, "count": missing, "taken": taken})
            answer = self._makers.plain_strategist.propose_ideas(again)
            if not answer.ideas:
                break
            self._store.ideas.keep(ctx.run_id, ctx.step_key, answer.ideas, only_new=True)
        total = len(self._store.ideas.made_by(ctx.run_id, ctx.step_key))
        notes = list(mark["degraded"])
        if total < request.count:
            notes.append(f"ideas: {total} of {request.count}; no more new mixtures within {IDEA_WINDOW.days} days")
        mark = {**mark, "total": total, "degraded": notes}
        self._store.marks.set(ctx.run_id, ctx.step_key, mark)
        return mark


class PromptMaking:
    """Makes the prompts of a slice."""

    def __init__(self, store: StudioStore, makers: Makers, settings: StudioSettings) -> None:
        self._store = store
        self._makers = makers
        self._settings = settings

    def make(self, ctx: StepContext, given: dict[str, Any]) -> dict[str, Any]:
        """Make them, or find those that an earlier try of this step has made."""
        request = self.read_request(ctx, given)
        notes: list[str] = []
        problem = None
        if not self._makers.generator.remote:
            notes.append("prompts: written by plain rules, without a model or service")
            self.fill_plainly(ctx, request)
        elif not self._store.prompts.made_by(ctx.run_id, ctx.step_key):
            try:
                drafts = self._makers.generator.make_prompts(request)
                self._store.prompts.keep(ctx.run_id, ctx.step_key, drafts, only_new=False)
            except StepError as error:
                if not self._makers.may_fall_back(ctx.attempt, error):
                    raise
                notes.append("prompts: the Generator failed; plain rules filled in")
                problem = error.message
                self.fill_plainly(ctx, request)
        return self.show(ctx, notes, problem)

    def show(self, ctx: StepContext, notes: list[str], problem: str | None) -> dict[str, Any]:
        """Give what this step has made so far, as its output."""
        made = self._store.prompts.made_by(ctx.run_id, ctx.step_key)
        shown = [
            {"prompt_id": str(row["prompt_id"]), "text": row["text"], "structure_id": row["structure_id"]}
            for row in made
        ]
        return {"count": len(made), "prompts": shown, "degraded": notes, "problem": problem}

    def read_request(self, ctx: StepContext, given: dict[str, Any]) -> PromptRequest:
        """Read what the step was given, and gather what prompts may be made from.

        Raises:
            PersistentError: a number is none.
        """
        part = given.get("slice", given.get("count", SLICE_SIZE))
        part = part if isinstance(part, dict) else {"count": part}
        count = _read_count(part.get("count"), SLICE_SIZE)
        offset = _read_count(part.get("offset", 0), None)
        # Slices of a workflow of somebody else's do not know the whole; each is then a batch of its own.
        whole = "total" in part
        return PromptRequest(
            count=count,
            offset=offset,
            total=max(_read_count(part["total"], None), offset + count) if whole else offset + count,
            seed=ctx.run_id if whole else f"{ctx.run_id}:{ctx.step_key}",
            renderer=_read_renderer(given, self._settings.default_renderer),
            known=known_things(self._store),
            exploration_rate=self._settings.exploration_rate,
        )

    def fill_plainly(self, ctx: StepContext, request: PromptRequest) -> None:
        """Write and store until every place has a prompt whose words nobody used lately."""
        missing = set(range(request.offset, request.offset + request.count))
        missing -= {row["place"] for row in self._store.prompts.made_by(ctx.run_id, ctx.step_key)}
        for drafts in _draw(self._makers.plain_generator, request):
            if not missing:
                return
            wanted = [draft for draft in drafts if draft.place in missing]
            missing -= self._store.prompts.keep(ctx.run_id, ctx.step_key, wanted, only_new=True)


def known_things(store: StudioStore) -> Known:
    """Gather what makers may build on: usable structures, the scores that serve, how doubtful they are."""
    structures = store.catalogue.usable_structures()
    served = store.scores.cached()
    cached = served.scores
    _, doubts = store.scores.rates(structures)
    scores = {
        item.structure_id: cached[key]
        for item in structures
        for key in (item.structure_id, item.record_id)
        if key is not None and key in cached
    }
    return Known(
        tuple(structures),
        scores,
        {**doubts, **served.doubts},
        tuple(store.catalogue.named("designers")),
        tuple(store.catalogue.named("garments")),
    )


def _draw(generator: Generator, request: PromptRequest) -> Iterator[list[PromptDraft]]:
    for draw in range(MOST_DRAWS):
        yield generator.make_prompts(PromptRequest(**{**request.__dict__, "draw": draw}))


def _read_count(value: Any, most: int | None) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0 or (most is not None and value > most):
        allowed = "0 or more" if most is None else f"0..{most}"
        raise PersistentError(
            f"The step was given {value!r} where a whole number, {allowed}, is needed.", code="bad_input"
        )
    return value


def _read_renderer(given: dict[str, Any], default: str) -> str:
    value = given.get("renderer")
    return clean(value, keep_lines=False)[:MAX_RENDERER_CHARS] or default if isinstance(value, str) else default
