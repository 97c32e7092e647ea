"""Ideas by a model: what it is asked, and what of its answer can be used."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TYPE_CHECKING, Any

from app.errors import LogicalError
from app.gateway.model import ModelCall
from app.studio.crafts import STRATEGIST
from app.studio.model import (
    MAX_ATTRIBUTE_CHARS,
    MAX_ATTRIBUTES,
    MAX_NAME_CHARS,
    MAX_RENDERER_CHARS,
    UNKNOWN_SCORE,
    IdeaDraft,
    clean,
    fingerprint,
)
from app.studio.plain_generator import open_slots, without_slots
from app.studio.plain_strategist import PHRASE_FLAG, idea_fingerprint
from app.studio.quoting import (
    cut,
    describe_catalogue,
    describe_structure,
    describe_vocabulary,
    enclose,
    quote,
    split_listed,
)
from app.studio.vocabulary import FIXED, FREE, compose_skeleton, has_form

if TYPE_CHECKING:
    from app.runs.ports import ModelContext
    from app.studio.model import Structure
    from app.studio.ports import IdeaRequest

MODEL = "thinking_ai"
SOURCE = "model"
TIMEOUT_S = 240.0  # of one request: fifty ideas are some twenty thousand tokens, thoughts included
TOKENS = 6_000  # of thought
TOKENS_AN_IDEA = 400
LEAST_SKELETON_CHARS, MOST_SKELETON_CHARS = 40, 1_500
MOST_RATIONALE_CHARS = 600
MOST_RECENT = 30
RECENT_CHARS = 200
MOST_PROMPTS, PROMPT_CHARS = 8, 300
MOST_BEST, MOST_WORST, MOST_UNLISTED = 40, 15, 10
RENDERERS = ("ImageFX", "Recraft", "Midjourney")
_TEXT = {"type": "string"}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["ideas"],
    "properties": {
        "ideas": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["skeleton", "renderer", "attributes", "parent", "rationale"],
                "properties": {
                    "skeleton": _TEXT,
                    "renderer": _TEXT,
                    "attributes": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["name", "value"],
                            "properties": {"name": _TEXT, "value": _TEXT},
                        },
                    },
                    "parent": {"type": ["string", "null"]},
                    "rationale": _TEXT,
                },
            },
        }
    },
}


@dataclass(frozen=True)
class IdeaBrief:
    """What a model is told beside its craft and the catalogue.

    Args:
        request: how many, from what.
        recent: skeletons of ideas that were proposed lately, newest first, and whether they were declined.
        liked: attributes whose structures score well, best first.
        prompts: the most liked ones: structure, text, number of likes.
    """

    request: IdeaRequest
    recent: tuple[tuple[str, bool], ...] = ()
    liked: Mapping[str, float] | None = None
    prompts: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True)
class Proposed:
    """What of an answer can be used.

    Args:
        drafts: up to as many as were asked for.
        rationales: by `fingerprint` of the skeleton.
        refused: why the others cannot be used, and how many for each reason.
        model: the logical name that answered.
    """

    drafts: tuple[IdeaDraft, ...]
    rationales: Mapping[str, str]
    refused: Mapping[str, int]
    model: str = MODEL


class ModelStrategist:
    """Asks the strong model for ideas, all of a batch at once."""

    async def propose(self, context: ModelContext, brief: IdeaBrief) -> Proposed:
        """Ask, and sort out what cannot be used.

        Raises:
            StepParked: as the gateway says.
            StepError: as the gateway says, or nothing of the answer can be used.
        """
        answer = await context.ask(write_call(brief))
        found = read_ideas(answer.data, brief.request, brief.recent)
        if not found.drafts:
            why = "; ".join(found.refused) or "it held none"
            raise LogicalError(
                f"{answer.model} proposed no idea that can be used: {why}.", code="unusable_answer", final=True
            )
        return replace(found, model=answer.model)


def write_call(brief: IdeaBrief) -> ModelCall:
    """Write the question. What stays the same from batch to batch comes first."""
    known = brief.request.known
    return ModelCall(
        model=MODEL,
        prompt=_write_message(brief),
        system=(f"{STRATEGIST}\n{describe_vocabulary()}", *describe_catalogue(known.structures)),
        config={"response_schema": SCHEMA, "max_tokens": most_tokens(brief.request.count)},
        timeout_s=TIMEOUT_S,
    )


def most_tokens(count: int) -> int:
    """Say how long an answer with so many ideas may be."""
    return TOKENS + TOKENS_AN_IDEA * count


def known_renderers(request: IdeaRequest) -> dict[str, str]:
    """Map small letters to the renderers there are; an empty one serves all."""
    used = (item.renderer for item in request.known.structures if item.renderer)
    names = ("", *RENDERERS, request.renderer, *used)
    return {name.casefold(): name for name in reversed(names)}


def _write_message(brief: IdeaBrief) -> str:
    request = brief.request
    explored = ceil(request.count * request.exploration_rate)
    renderers = sorted(name for name in known_renderers(request).values() if name)[:20]
    parts = [
        f"Propose {request.count} ideas; {explored} of them explore, the others build on what scores well.",
        "Renderers, beside the empty one: " + quote(renderers),
        enclose("scores", _write_scores(request)),
    ]
    if brief.liked:
        shown = {cut(label, RECENT_CHARS): round(value, 2) for label, value in brief.liked.items()}
        parts.append(
            "What structures that score well have in common, with their mean score:\n"
            + enclose("liked", [quote(shown)])
        )
    if request.known.structures and (further := _unlisted(request)):
        parts.append("Older structures that score well:\n" + enclose("older", map(describe_structure, further)))
    if brief.prompts:
        lines = [
            quote({"structure": key, "prompt": cut(text, PROMPT_CHARS), "likes": likes})
            for key, text, likes in brief.prompts[:MOST_PROMPTS]
        ]
        parts.append("Prompts whose pictures were liked most:\n" + enclose("prompts", lines))
    if brief.recent:
        lines = [
            quote({"idea": cut(text, RECENT_CHARS), **({"declined": True} if declined else {})})
            for text, declined in brief.recent[:MOST_RECENT]
        ]
        parts.append("Proposed lately, not to be repeated:\n" + enclose("recent", lines))
    return "\n\n".join(parts)


def _write_scores(request: IdeaRequest) -> list[str]:
    """Show the best and the worst: what lies between says little."""
    ranked = sorted(request.known.scores.items(), key=lambda one: (-one[1], one[0]))
    best, rest = ranked[:MOST_BEST], ranked[MOST_BEST:]
    return [quote({key: round(score, 2) for key, score in [*best, *rest[-MOST_WORST:]]})]


def _unlisted(request: IdeaRequest) -> list[Structure]:
    older, _ = split_listed(request.known.structures)
    scores = request.known.scores
    ranked = sorted(older, key=lambda item: (-scores.get(item.structure_id, UNKNOWN_SCORE), item.structure_id))
    return ranked[:MOST_UNLISTED]


def read_ideas(data: Any, request: IdeaRequest, recent: Sequence[tuple[str, bool]] = ()) -> Proposed:
    """Keep what can be used of an answer that fits the schema, in its order, up to the number asked for."""
    reader = _Reader(request, recent)
    drafts: list[IdeaDraft] = []
    rationales: dict[str, str] = {}
    refused: Counter[str] = Counter()
    for entry in data["ideas"]:
        if len(drafts) == request.count:
            break
        draft, problem = reader.read(entry)
        if draft is None:
            refused[problem] += 1
            continue
        drafts.append(draft)
        said = clean(entry["rationale"], keep_lines=False)[:MOST_RATIONALE_CHARS]
        rationales[fingerprint(draft.skeleton)] = said
    return Proposed(tuple(drafts), rationales, dict(refused))


class _Reader:
    """Judges one idea after the other; what it has taken, no later one may repeat."""

    def __init__(self, request: IdeaRequest, recent: Sequence[tuple[str, bool]]) -> None:
        known = request.known.structures
        self._renderers = known_renderers(request)
        self._ids = {item.structure_id for item in known}
        self._taken = set(request.taken)
        self._words = {
            fingerprint(text) for text in (*(item.skeleton for item in known), *(text for text, _ in recent))
        }
        used = {name for item in known for name in item.attributes if not name.startswith(PHRASE_FLAG)}
        self._names = {"form", *FIXED, *FREE, *used}

    def read(self, entry: Mapping[str, Any]) -> tuple[IdeaDraft | None, str]:
        """Give an idea, or why it cannot be used."""
        skeleton = clean(entry["skeleton"], keep_lines=False)
        renderer = self._renderers.get(clean(entry["renderer"], keep_lines=False)[:MAX_RENDERER_CHARS].casefold())
        problem = skeleton_problem(skeleton) or ("it names a renderer that nobody has" if renderer is None else "")
        if problem or renderer is None:
            return None, problem
        attributes, problem = self._attributes(entry["attributes"], skeleton)
        if problem:
            return None, problem
        key, words = idea_fingerprint(skeleton, attributes), fingerprint(skeleton)
        if key in self._taken or words in self._words:
            return None, "it is known already"
        self._taken.add(key)
        self._words.add(words)
        parent = entry["parent"] if entry["parent"] in self._ids else None
        return IdeaDraft(skeleton, renderer, attributes, parent, SOURCE), ""

    def _attributes(self, pairs: Sequence[Mapping[str, str]], skeleton: str) -> tuple[dict[str, Any], str]:
        """Read attributes; names that nothing else has teach nothing and are left out."""
        if len(pairs) > MAX_ATTRIBUTES:
            return {}, f"it has more than {MAX_ATTRIBUTES} attributes"
        read: dict[str, Any] = {}
        for pair in pairs:
            name, value = clean(pair["name"], keep_lines=False), clean(pair["value"], keep_lines=False)
            if len(name) > MAX_NAME_CHARS or len(value) > MAX_ATTRIBUTE_CHARS:
                return {}, "an attribute is too long"
            if name in self._names and value:
                read[name] = value
        if has_form(read) and compose_skeleton(read["form"], read) != skeleton:
            del read["form"]  # the plain rules would compose it anew from its form, and lose its words
        return read, ""


def skeleton_problem(skeleton: str) -> str:
    """Say why prompts cannot be made from a skeleton; empty when they can."""
    if not LEAST_SKELETON_CHARS <= len(skeleton) <= MOST_SKELETON_CHARS:
        return f"its text has not {LEAST_SKELETON_CHARS} to {MOST_SKELETON_CHARS} characters"
    slots = open_slots(skeleton)
    if any(slot is None for _, slot in slots) or set(without_slots(skeleton)) & set("[]{}<>"):
        return "it has open places that nobody can fill"
    if not any(slot == "garment" for _, slot in slots):
        return "it has no place for the garment"
    if "://" in skeleton:
        return "it holds a web address"
    return ""
