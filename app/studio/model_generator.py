"""Prompts by a model: what it is asked for one slice of a batch, and what of its answer can be used.

Which structure each prompt is made from is chosen here, as in the plain way: the model only writes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from app.gateway.model import ModelCall
from app.studio.crafts import GENERATOR, WARMING, craft_of
from app.studio.model import Named, PromptDraft, clean, fingerprint
from app.studio.plain_generator import choose_names, plan_batch, suggest, without_slots
from app.studio.quoting import SKELETON_CHARS, cut, enclose, quote

if TYPE_CHECKING:
    from app.runs.ports import ModelContext
    from app.studio.ports import PromptRequest

MODEL = "medium_ai"
SOURCE = "model"
TIMEOUT_S = 120.0
TOKENS = 2_000  # of thought
TOKENS_A_PROMPT = 350
WARMING_TOKENS = 256
WARMING_TIMEOUT_S = 20.0
LEAST_CHARS, MOST_CHARS = 40, 2_500
LEAST_WORDS = 4
KEPT_SHARE = 0.5
"""Of a structure's fixed words that its prompt must hold. The craft demands all of them; of prompts of *other*
structures of the starter's, one in 600 holds so many."""

STEM = 5  # letters by which two forms of a word are the same
_WORD = re.compile(r"[^\W\d_]{4,}")
_TEXT = {"type": "string"}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["prompts"],
    "properties": {
        "prompts": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["number", "structure", "text"],
                "properties": {"number": {"type": "integer"}, "structure": _TEXT, "text": _TEXT},
            },
        }
    },
}


@dataclass(frozen=True)
class Planned:
    """One prompt that is to be written; kept with the step, so that a later try means the same by its number.

    Args:
        number: within the slice, from 1.
        place: in the whole batch, from 0.
        structure_id: empty for a structure of the starter's that is not stored.
        suggestions: phrases for its open places.
    """

    number: int
    place: int
    structure_id: str
    record_id: str | None
    skeleton: str
    explored: bool
    propensity: float
    suggestions: Mapping[str, str] = field(default_factory=dict)
    designer: Named | None = None
    garment: Named | None = None

    @property
    def label(self) -> str:
        """What the model is to call its structure."""
        return self.structure_id or f"starter-{self.number}"

    def to_json(self) -> dict[str, Any]:
        """Write it for the step's mark."""
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Planned:
        """Read what `to_json` wrote."""
        named = {name: Named(**raw[name]) if raw[name] else None for name in ("designer", "garment")}
        return cls(**{**raw, **named})

    def draft(self, text: str, renderer: str) -> PromptDraft:
        """Make the prompt of it."""
        return PromptDraft(
            text=text,
            renderer=renderer,
            place=self.place,
            structure_id=self.structure_id or None,
            structure_record_id=self.record_id,
            designer=self.designer,
            garment=self.garment,
            explored=self.explored,
            propensity=self.propensity,
            source=SOURCE,
        )


@dataclass(frozen=True)
class Written:
    """What of an answer can be used, and what is wrong with the rest, by number; `model` answered."""

    drafts: tuple[PromptDraft, ...]
    problems: Mapping[int, str]
    model: str = MODEL


def plan_slice(request: PromptRequest) -> list[Planned]:
    """Choose structures, names and suggestions for a slice, by the plan that all slices of the batch share."""
    places = plan_batch(request)[request.offset : request.offset + request.count]
    planned = []
    for at, place in enumerate(places):
        designer, garment = choose_names(request, request.offset + at)
        suggestions = suggest(request, request.offset + at, place.structure)
        if garment is not None:
            suggestions.pop("garment", None)
        planned.append(
            Planned(
                number=at + 1,
                place=request.offset + at,
                structure_id=place.structure.structure_id,
                record_id=place.structure.record_id,
                skeleton=place.structure.skeleton,
                explored=place.explored,
                propensity=round(place.propensity, 6),
                suggestions=suggestions,
                designer=designer,
                garment=garment,
            )
        )
    return planned


class ModelGenerator:
    """Asks the middle model for prompts, a slice at once."""

    async def write(
        self,
        context: ModelContext,
        renderer: str,
        wanted: Sequence[Planned],
        *,
        part: int = 0,
        problems: Mapping[int, str] | None = None,
    ) -> Written:
        """Ask for these prompts.

        Args:
            context: the step's.
            renderer: whom they are for.
            wanted: the places, in order.
            part: number of the question within the step.
            problems: what was wrong with earlier texts for these places, by number.

        Raises:
            StepParked: as the gateway says.
            StepError: as the gateway says.
        """
        answer = await context.ask(write_call(renderer, wanted, problems), part=part)
        written = read_prompts(answer.data, renderer, wanted)
        return Written(written.drafts, written.problems, answer.model)

    async def warm_up(self, context: ModelContext, renderer: str) -> None:
        """Let the vendor keep what every slice's question begins with, before slices go out side by side.

        Raises:
            StepParked: as the gateway says.
            StepError: as the gateway says.
        """
        call = ModelCall(
            model=MODEL,
            prompt=WARMING,
            system=system_parts(renderer),
            config={"max_tokens": WARMING_TOKENS},
            fallback=(),
            timeout_s=WARMING_TIMEOUT_S,
        )
        await context.ask(call)


def system_parts(renderer: str) -> tuple[str, ...]:
    """Write what stays the same from slice to slice, the most lasting first."""
    return (GENERATOR, craft_of(renderer))


def most_tokens(count: int) -> int:
    """Say how long an answer with so many prompts may be."""
    return TOKENS + TOKENS_A_PROMPT * count


def write_call(renderer: str, wanted: Sequence[Planned], problems: Mapping[int, str] | None = None) -> ModelCall:
    """Write the question for a slice."""
    lines = [_describe(item) for item in wanted]
    begin = f"Write {len(wanted)} prompts for the renderer {quote(renderer)}, one for each of these, in this order."
    parts = [begin, enclose("structures", lines)]
    if problems:
        said = "; ".join(f"{number}: {problem}" for number, problem in sorted(problems.items()))
        parts.append(f"Your earlier texts for these could not be used. By number: {said}. Write other ones.")
    return ModelCall(
        model=MODEL,
        prompt="\n\n".join(parts),
        system=system_parts(renderer),
        config={"response_schema": SCHEMA, "max_tokens": most_tokens(len(wanted))},
        timeout_s=TIMEOUT_S,
    )


def _describe(item: Planned) -> str:
    shown: dict[str, Any] = {
        "number": item.number,
        "structure": item.label,
        "skeleton": cut(item.skeleton, SKELETON_CHARS),
        "suggestions": dict(item.suggestions),
    }
    if item.designer is not None:
        shown["designer"] = item.designer.name
    if item.garment is not None:
        shown["garment"] = item.garment.name
    return quote(shown)


def read_prompts(data: Any, renderer: str, wanted: Sequence[Planned]) -> Written:
    """Keep what can be used of an answer that fits the schema: each text by its number, where its structure agrees."""
    entries: dict[int, Mapping[str, Any]] = {}
    for entry in data["prompts"]:
        entries.setdefault(entry["number"], entry)
    drafts, problems, seen = [], {}, set[str]()
    for item in wanted:
        text, problem = _read(entries.get(item.number), item)
        words = fingerprint(text)
        if not problem and words in seen:
            problem = "it repeats another prompt"
        if problem:
            problems[item.number] = problem
            continue
        seen.add(words)
        drafts.append(item.draft(text, renderer))
    return Written(tuple(drafts), problems)


def _read(entry: Mapping[str, Any] | None, item: Planned) -> tuple[str, str]:
    if entry is None:
        return "", "it is missing"
    if entry["structure"].strip() != item.label:
        return "", "it names another structure"
    text = clean(entry["text"], keep_lines=False)
    return text, text_problem(text, item)


def text_problem(text: str, item: Planned) -> str:
    """Say why a text is no prompt of its structure; empty when it is one."""
    if not LEAST_CHARS <= len(text) <= MOST_CHARS:
        return f"it has not {LEAST_CHARS} to {MOST_CHARS} characters"
    bare = text
    for named in (item.designer, item.garment):
        bare = bare.replace(clean(named.name, keep_lines=False), "") if named is not None else bare
    if set(bare) & set("[]{}<>"):
        return "open places remain in it"
    if "://" in text:
        return "it holds a web address"
    for named in (item.designer, item.garment):
        if named is not None and clean(named.name, keep_lines=False).casefold() not in text.casefold():
            return "it lacks a name that was given for it"
    if not keeps_structure(text, item.skeleton):
        return "it does not keep the words that its structure fixes"
    return ""


def keeps_structure(text: str, skeleton: str) -> bool:
    """Whether a text holds enough of what a skeleton fixes; short skeletons fix too little to tell."""
    fixed = _stems(without_slots(cut(skeleton, SKELETON_CHARS)))
    return len(fixed) < LEAST_WORDS or len(fixed & _stems(text)) >= KEPT_SHARE * len(fixed)


def _stems(text: str) -> set[str]:
    return {word[:STEM] for word in _WORD.findall(text.casefold())}
