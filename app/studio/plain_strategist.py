"""Ideas without any model: what scores well, recombined, with its lineage kept."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from app.studio.model import (
    MAX_ATTRIBUTES,
    MAX_SKELETON_CHARS,
    UNKNOWN_SCORE,
    IdeaDraft,
    Structure,
    fingerprint,
    read_phrases,
)
from app.studio.ports import IdeaAnswer, IdeaRequest
from app.studio.starter import starter_structures
from app.studio.vocabulary import FIXED, FORMS, compose_skeleton, has_form

TRIES_AN_IDEA = 40  # a catalogue so small that forty mixtures are all known has no more ideas to give
PHRASE_FLAG = "phrase: "  # how a free skeleton's phrases stand among its attributes
_NEW_FORM_SHARE = 0.25  # of ideas change their kind of picture
_REPLACE_SHARE = 0.5  # of a lone phrase: as often kept as replaced
_SHARPNESS = 2  # parents are drawn by score squared: well-liked ones clearly more often


class PlainStrategist:
    """Proposes recombinations; the same request gives the same ideas."""

    name = "plain"
    remote = False

    def propose_ideas(self, request: IdeaRequest) -> IdeaAnswer:
        """Mix attributes or phrases of two structures that score well.

        Returns:
            Up to `request.count` ideas, none of them known or twice; fewer when the catalogue is exhausted.
        """
        ideas: list[IdeaDraft] = []
        taken = set(request.taken)
        for idea in self._mixtures(request):
            if len(ideas) == request.count:
                break
            key = idea_fingerprint(idea.skeleton, idea.attributes)
            if key not in taken and len(idea.skeleton) <= MAX_SKELETON_CHARS:
                taken.add(key)
                ideas.append(idea)
        return IdeaAnswer(tuple(ideas), len(ideas))

    def _mixtures(self, request: IdeaRequest) -> Iterator[IdeaDraft]:
        rng = Random(f"{request.seed}:ideas")
        pool = list(request.known.structures) or starter_structures()
        weights = [max(request.known.scores.get(item.structure_id, UNKNOWN_SCORE), 0.1) ** _SHARPNESS for item in pool]
        for _ in range(request.count * TRIES_AN_IDEA):
            parent, donor = rng.choices(pool, weights, k=2)
            yield _mix(rng, parent, donor, request)


def idea_fingerprint(skeleton: str, attributes: dict[str, Any]) -> str:
    """Say what makes a structure the same as another: its words, and its form where it has one."""
    return fingerprint(skeleton, {"form": attributes["form"]} if "form" in attributes else None)


def _mix(rng: Random, parent: Structure, donor: Structure, request: IdeaRequest) -> IdeaDraft:
    explore = rng.random() < request.exploration_rate or donor.structure_id == parent.structure_id
    mixed = (
        _mix_form(rng, parent, donor, explore=explore)
        if has_form(parent.attributes)
        else _mix_phrases(rng, parent, donor)
    )
    skeleton, attributes = mixed
    return IdeaDraft(skeleton, parent.renderer or request.renderer, attributes, parent.structure_id)


def _mix_form(rng: Random, parent: Structure, donor: Structure, *, explore: bool) -> tuple[str, dict[str, Any]]:
    """Exchange one or two fixed phrases, sometimes the form; an exploring mixture takes a phrase nobody has tried."""
    attributes = dict(parent.attributes)
    slots = [slot for slot in FIXED if donor.attributes.get(slot) not in {None, attributes[slot]}]
    for slot in rng.sample(slots, min(len(slots), rng.choice((1, 2)))):
        attributes[slot] = donor.attributes[slot]
    if explore:
        slot = rng.choice(list(FIXED))
        attributes[slot] = rng.choice(FIXED[slot])
    if rng.random() < _NEW_FORM_SHARE:
        attributes["form"] = (
            donor.attributes.get("form") if donor.attributes.get("form") in FORMS else rng.choice(list(FORMS))
        )
    return compose_skeleton(attributes["form"], attributes), attributes


def _mix_phrases(rng: Random, parent: Structure, donor: Structure) -> tuple[str, dict[str, Any]]:
    """Put one of the donor's phrases in the place of one of the parent's; what stands first, and open slots, stay."""
    phrases = read_phrases(parent.skeleton)
    given = [phrase for phrase in _lend(donor) if phrase not in phrases]
    new = rng.choice(given) if given else rng.choice(FIXED[rng.choice(list(FIXED))])
    free = [at for at, phrase in enumerate(phrases) if at > 0 and not _has_slot(phrase)]
    attributes = dict(parent.attributes)
    if len(free) > 1 or (free and rng.random() < _REPLACE_SHARE):
        at = rng.choice(free)
        attributes.pop(PHRASE_FLAG + phrases[at], None)
        phrases[at] = new
    else:
        phrases.append(new)
    if len(attributes) < MAX_ATTRIBUTES:
        attributes[PHRASE_FLAG + new] = True
    return ", ".join(phrases), attributes


def _lend(donor: Structure) -> list[str]:
    if has_form(donor.attributes):
        return [str(donor.attributes[slot]) for slot in FIXED]
    return [phrase for phrase in read_phrases(donor.skeleton)[1:] if not _has_slot(phrase)]


def _has_slot(phrase: str) -> bool:
    return any(sign in phrase for sign in "[]{}<>")
