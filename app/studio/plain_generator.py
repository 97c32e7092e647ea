"""Prompts without any model: a structure drawn by score, its open slots filled from the vocabulary.

The whole batch is planned from its seed, so that slices running side by side share one plan: structures are spread in
proportion to their scores instead of being rolled anew for each prompt, and phrases go round before one comes again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from random import Random
from typing import TypeVar

from app.studio.model import UNKNOWN_SCORE, Named, PromptDraft, Structure, clean
from app.studio.ports import Known, PromptRequest
from app.studio.starter import starter_structures
from app.studio.vocabulary import FINISHES, FIXED, FREE, SLOT_NAMES

Phrase = TypeVar("Phrase")
LEAST_DOUBT = 1e-6
WEIGHT_FLOOR = 0.1  # the original's: a badly liked structure is still drawn now and then
_SLOT = re.compile(
    r"(?:\b(?P<article>an?|the)\s+)?[\[{<]{1,2}\s*(?P<name>[A-Za-z][A-Za-z _-]{0,40}?)\s*[\]}>]{1,2}", re.IGNORECASE
)
_NO_DESIGNER = re.compile(
    r",?\s*(?:\b(?:designed|made|styled|created)\s+)?(?:\b(?:by|from|for|of)\s+)?[\[{<]{1,2}\s*(?:designer|brand|label)\s*[\]}>]{1,2}",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """One prompt's structure, and how it came to be drawn."""

    structure: Structure
    explored: bool
    propensity: float


def plan_batch(request: PromptRequest) -> list[Place]:
    """Spread a batch over the structures.

    An `exploration_rate` share of the places is drawn by doubt, the rest by score. Both are systematic samples: over
    many batches a structure gets exactly its probability, within one batch at most one place more or less.

    Returns:
        `request.total` places; the same for every slice of the batch.
    """
    pool = _choose_pool(request)
    weights, doubts = _weigh(request.known, pool)
    rng = Random(f"{request.seed}:plan")
    rate, phase = request.exploration_rate, rng.random()
    explored = [int((at + 1) * rate + phase) > int(at * rate + phase) for at in range(request.total)]
    draws = {
        True: iter(_sample(rng, doubts, sum(explored))),
        False: iter(_sample(rng, weights, request.total - sum(explored))),
    }
    chosen = [(next(draws[flag]), flag) for flag in explored]
    shares = _divide(weights, doubts, rate)
    return [Place(pool[index], flag, shares[index]) for index, flag in chosen]


def draw_shares(known: Known, exploration_rate: float) -> dict[str, float]:
    """Give the probability with which each structure would be drawn now, whatever the renderer."""
    shares = _divide(*_weigh(known, known.structures), exploration_rate)
    return {item.structure_id: share for item, share in zip(known.structures, shares, strict=True)}


def _weigh(known: Known, pool: Sequence[Structure]) -> tuple[list[float], list[float]]:
    """Give how much each structure weighs by its score, and by how doubtful that is."""
    return (
        [max(known.scores.get(item.structure_id, UNKNOWN_SCORE), WEIGHT_FLOOR) for item in pool],
        [max(known.doubts.get(item.structure_id, UNKNOWN_SCORE), LEAST_DOUBT) for item in pool],
    )


def _divide(weights: list[float], doubts: list[float], rate: float) -> list[float]:
    total, doubtful = sum(weights), sum(doubts)
    return [
        (1 - rate) * weight / total + rate * doubt / doubtful for weight, doubt in zip(weights, doubts, strict=True)
    ]


def _choose_pool(request: PromptRequest) -> Sequence[Structure]:
    """Prefer structures for this renderer or for any; without them take all, and without any the starter's."""
    known = request.known.structures
    fitting = [item for item in known if item.renderer.casefold() in {"", request.renderer.casefold()}]
    return fitting or known or [_without_id(item) for item in starter_structures()]


def _without_id(structure: Structure) -> Structure:
    return Structure("", structure.skeleton, attributes=structure.attributes)


def _sample(rng: Random, weights: list[float], count: int) -> list[int]:
    """Draw `count` places of a list in proportion to their weights, spread evenly, in random order."""
    if count == 0:
        return []
    bounds = list(accumulate(weights))
    start, drawn, index = rng.random(), [], 0
    for at in range(count):
        mark = (at + start) / count * bounds[-1]
        while index < len(bounds) - 1 and bounds[index] <= mark:
            index += 1
        drawn.append(index)
    rng.shuffle(drawn)
    return drawn


def open_slots(skeleton: str) -> list[tuple[str, str | None]]:
    """List the open places of a skeleton: the name as it stands, and our word for it, None for one we do not know."""
    return [(found["name"], _slot_of(found["name"])) for found in _SLOT.finditer(skeleton)]


def without_slots(skeleton: str) -> str:
    """Give what a skeleton fixes."""
    return _SLOT.sub(" ", skeleton)


def choose_names(request: PromptRequest, number: int) -> tuple[Named | None, Named | None]:
    """Choose the designer and the garment of one place of a batch."""
    words = _Words(request, number)
    return words.choose_named("designer", request.known.designers), words.choose_named(
        "garment", request.known.garments
    )


def suggest(request: PromptRequest, number: int, structure: Structure) -> dict[str, str]:
    """Deal out phrases for the open places of one place of a batch, so that whoever writes it varies.

    Returns:
        By place; subject, garment and palette also where the skeleton does not open them.
    """
    words = _Words(request, number)
    wanted = {"subject", "garment", "palette", *(slot for _, slot in open_slots(structure.skeleton) if slot)}
    garment = f"{words.choose('item')} in {words.choose('colour')} {words.choose('fabric')}"
    return {
        slot: garment if slot == "garment" else words.choose(slot) for slot in sorted(wanted - {"designer", "renderer"})
    }


class PlainGenerator:
    """Writes prompts from a grammar; the same request gives the same prompts."""

    name = "plain"
    remote = False

    def warm_up(self) -> bool:
        """Do nothing: there is nobody to wake."""
        return True

    def make_prompts(self, request: PromptRequest) -> list[PromptDraft]:
        """Write the prompts of one slice.

        Returns:
            Exactly `request.count`, in order of their places.
        """
        places = plan_batch(request)[request.offset : request.offset + request.count]
        return [self._write(request, request.offset + at, place) for at, place in enumerate(places)]

    def _write(self, request: PromptRequest, number: int, place: Place) -> PromptDraft:
        words = _Words(request, number)
        designer, garment = choose_names(request, number)
        structure = place.structure
        return PromptDraft(
            text=_Sentence(words, structure, designer, garment).write(),
            renderer=request.renderer,
            place=number,
            structure_id=structure.structure_id or None,
            structure_record_id=structure.record_id,
            designer=designer,
            garment=garment,
            explored=place.explored,
            propensity=round(place.propensity, 6),
        )


class _Words:
    """Choose phrases for one place of a batch.

    The first draw walks through a shuffled list, so that neighbours differ; a further draw, asked for because the first
    one's words were used lately, rolls freely.
    """

    def __init__(self, request: PromptRequest, number: int) -> None:
        self._seed = request.seed
        self._number = number
        self._draw = request.draw
        self._rng = Random(f"{request.seed}:{number}:{request.draw}")
        self.renderer = request.renderer

    def choose(self, slot: str) -> str:
        """Choose a phrase for a slot."""
        return self._pick(slot, FREE.get(slot) or FIXED[slot])

    def choose_named(self, slot: str, known: Sequence[Named]) -> Named | None:
        """Choose one of the base's names; None when it has none."""
        return self._pick(slot, known) if known else None

    def choose_finish(self) -> str:
        """Choose a last sentence that suits the renderer."""
        return self._pick("finish", FINISHES.get(self.renderer.casefold(), FINISHES[""]))

    def _pick(self, slot: str, phrases: Sequence[Phrase]) -> Phrase:
        if self._draw:
            return self._rng.choice(phrases)
        order = list(range(len(phrases)))
        Random(f"{self._seed}:{slot}").shuffle(order)
        return phrases[order[self._number % len(order)]]


class _Sentence:
    """One prompt's text."""

    def __init__(self, words: _Words, structure: Structure, designer: Named | None, garment: Named | None) -> None:
        self._words = words
        self._structure = structure
        self._designer = designer
        self._garment = garment
        self._used: set[str] = set()

    def write(self) -> str:
        """Fill the skeleton, say what it leaves unsaid, and end in the renderer's manner."""
        skeleton = self._structure.skeleton
        if self._designer is None:
            skeleton = _NO_DESIGNER.sub("", skeleton)
        body = _SLOT.sub(self._fill, skeleton)
        if "garment" not in self._used:
            body = f"{_close(body)} {self._capital(self._say('subject'))} wears {self._say('garment')}"
        palette = self._words.choose("palette")
        return _tidy(f"{_close(body)} Palette of {palette}. {self._words.choose_finish()}.")

    def _fill(self, found: re.Match[str]) -> str:
        slot = _slot_of(found["name"])
        phrase = found["name"].strip().lower() if slot is None else self._say(slot)
        article = found["article"]
        if article is None:
            return phrase
        bare = _ARTICLE.sub("", phrase)
        if article.casefold() == "the":
            return f"{article} {bare}"
        fitting = "an" if bare[:1].casefold() in set("aeiou") else "a"
        return f"{fitting.capitalize() if article[0].isupper() else fitting} {bare}"

    def _say(self, slot: str) -> str:
        self._used.add(slot)
        if slot == "garment":
            return self._say_garment()
        if slot == "designer":
            return self._designer.name if self._designer else ""
        if slot == "renderer":
            return self._words.renderer
        own = self._structure.attributes.get(slot)
        return own if isinstance(own, str) and own else self._words.choose(slot)

    def _say_garment(self) -> str:
        colour = self._words.choose("colour")
        if self._garment is None:
            phrase = f"{self._words.choose('item')} in {colour} {self._words.choose('fabric')}"
        else:
            name = self._garment.name
            phrase = f"{name if _ARTICLE.match(name) else 'the ' + name} in {colour}"
        named_elsewhere = "designer" in self._structure.skeleton.casefold()
        return phrase if self._designer is None or named_elsewhere else f"{phrase} by {self._designer.name}"

    @staticmethod
    def _capital(text: str) -> str:
        return text[:1].upper() + text[1:]


def _slot_of(name: str) -> str | None:
    return SLOT_NAMES.get(name.strip().casefold().replace("_", " ").replace("-", " "))


def _close(text: str) -> str:
    text = text.rstrip(" ,;")
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _tidy(text: str) -> str:
    text = clean(text, keep_lines=False)
    text = re.sub(r"\s+([,.;:])", r"\1", text)
    return re.sub(r"([,;:])(?:\s*[,;:])+", r"\1", text)
