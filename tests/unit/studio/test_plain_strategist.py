"""Ideas from what scores well."""

from __future__ import annotations

from app.studio.model import IdeaDraft, Structure
from app.studio.plain_strategist import PlainStrategist, idea_fingerprint
from app.studio.ports import IdeaRequest, Known
from app.studio.starter import starter_structures
from app.studio.vocabulary import FIXED

STARTER = Known(tuple(starter_structures()))


def propose(
    count: int, known: Known = STARTER, *, taken: frozenset[str] = frozenset(), seed: str = "s", rate: float = 0.2
) -> tuple[IdeaDraft, ...]:
    request = IdeaRequest(count, seed, known, rate, taken=taken)
    return PlainStrategist().propose_ideas(request).ideas


def test_the_starter_catalogue_holds_sixteen_different_structures() -> None:
    structures = starter_structures()
    assert len({idea_fingerprint(item.skeleton, item.attributes) for item in structures}) == len(structures) == 16
    assert all("{garment}" in item.skeleton for item in structures)


def test_ideas_are_new_and_name_the_parent_they_come_from() -> None:
    taken = frozenset(idea_fingerprint(item.skeleton, item.attributes) for item in STARTER.structures)
    ideas = propose(50, taken=taken)
    keys = {idea_fingerprint(idea.skeleton, idea.attributes) for idea in ideas}
    assert len(ideas) == len(keys) == 50
    assert not keys & taken
    assert {idea.parent for idea in ideas} <= {item.structure_id for item in STARTER.structures}


def test_an_idea_keeps_most_of_its_parent_and_takes_phrases_that_exist() -> None:
    parents = {item.structure_id: item for item in STARTER.structures}
    for idea in propose(30):
        parent = parents[str(idea.parent)]
        changed = [slot for slot in FIXED if idea.attributes[slot] != parent.attributes[slot]]
        assert len(changed) <= 3
        assert all(idea.attributes[slot] in FIXED[slot] for slot in FIXED)
        assert all(str(idea.attributes[slot]) in idea.skeleton for slot in FIXED)


def test_parents_are_mostly_those_that_score_well() -> None:
    scores = {item.structure_id: 0.9 if item.structure_id in {"3", "5"} else 0.1 for item in STARTER.structures}
    parents = [
        idea.parent for seed in range(10) for idea in propose(20, Known(STARTER.structures, scores), seed=str(seed))
    ]
    assert sum(parent in {"3", "5"} for parent in parents) > len(parents) * 0.8


def test_the_same_seed_gives_the_same_ideas_and_another_gives_others() -> None:
    assert propose(5) == propose(5)
    assert propose(5) != propose(5, seed="t")


def test_free_skeletons_exchange_phrases_and_never_their_open_places() -> None:
    known = Known(
        (
            Structure("42", "Campaign shot of [GARMENT] by [DESIGNER], golden light, desert dunes, wide angle"),
            Structure("43", "Minimal studio, soft shadow, paper backdrop"),
        )
    )
    ideas = propose(10, known)
    assert len(ideas) == 10
    for idea in ideas:
        begin = "Campaign shot of [GARMENT] by [DESIGNER]" if idea.parent == "42" else "Minimal studio"
        assert idea.skeleton.startswith(begin)
        assert any(name.startswith("phrase: ") and value is True for name, value in idea.attributes.items())


def test_a_single_structure_still_gives_ideas() -> None:
    assert len(propose(5, Known((Structure("1", "One phrase only"),)))) == 5


def test_an_exhausted_catalogue_gives_fewer_ideas_and_never_a_known_one() -> None:
    first = propose(50, rate=0.0)
    taken = frozenset(idea_fingerprint(idea.skeleton, idea.attributes) for idea in first)
    again = propose(50, rate=0.0, taken=taken)
    assert not {idea_fingerprint(idea.skeleton, idea.attributes) for idea in again} & taken


def test_no_ideas_are_made_when_none_are_wanted() -> None:
    assert propose(0) == ()
