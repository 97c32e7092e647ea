"""Prompts from a grammar."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from app.studio.model import Named, Structure, fingerprint
from app.studio.plain_generator import PlainGenerator, plan_batch
from app.studio.ports import Known, PromptRequest
from app.studio.starter import starter_structures

STARTER = Known(tuple(starter_structures()))


def request(
    total: int, known: Known = STARTER, *, seed: str = "s", rate: float = 0.2, **changes: object
) -> PromptRequest:
    values = {
        "count": min(total, 10),
        "offset": 0,
        "total": total,
        "seed": seed,
        "renderer": "ImageFX",
        "known": known,
        "exploration_rate": rate,
    }
    return PromptRequest(**{**values, **changes})  # type: ignore[arg-type]


def whole_batch(total: int, known: Known = STARTER, **changes: object) -> list[str]:
    maker = PlainGenerator()
    parts = [request(total, known, offset=at, count=min(10, total - at), **changes) for at in range(0, total, 10)]  # type: ignore[arg-type]
    return [draft.text for part in parts for draft in maker.make_prompts(part)]


def test_twelve_prompts_differ_in_structure_subject_and_garment() -> None:
    texts = whole_batch(12)
    assert len({fingerprint(text) for text in texts}) == 12
    drafts = PlainGenerator().make_prompts(request(10))
    assert max(Counter(draft.structure_id for draft in drafts).values()) <= 2


def test_five_hundred_prompts_of_a_batch_are_five_hundred_different_ones() -> None:
    assert len({fingerprint(text) for text in whole_batch(500)}) == 500


def test_a_prompt_reads_as_sentences_without_open_places() -> None:
    for text in whole_batch(100):
        assert not re.search(r"[{}\[\]<>]", text)
        assert not re.search(r"\s\s|\s[,.;:]|[,;:][,;:]|\.\.", text)
        assert text[0].isupper()
        assert text.endswith(".")


def test_the_same_request_gives_the_same_prompts() -> None:
    assert whole_batch(12, seed="a") == whole_batch(12, seed="a")
    assert whole_batch(12, seed="a") != whole_batch(12, seed="b")


def test_another_draw_gives_other_words_for_the_same_structure() -> None:
    maker = PlainGenerator()
    first, second = maker.make_prompts(request(10)), maker.make_prompts(request(10, draw=1))
    assert [draft.structure_id for draft in first] == [draft.structure_id for draft in second]
    assert not {draft.text for draft in first} & {draft.text for draft in second}


def test_the_share_that_explores_is_exact_to_one_place_and_marked() -> None:
    for total in (10, 12, 50, 333):
        explored = sum(place.explored for place in plan_batch(request(total)))
        assert abs(explored - total * 0.2) < 1


@pytest.mark.parametrize(("rate", "explored"), [(0.0, 0), (1.0, 40)])
def test_nothing_or_everything_explores_at_the_ends_of_the_rate(rate: float, explored: int) -> None:
    assert sum(place.explored for place in plan_batch(request(40, rate=rate))) == explored


def test_structures_are_drawn_in_proportion_to_their_scores_above_a_floor() -> None:
    known = Known(tuple(Structure(name, "x") for name in "abc"), {"a": 0.9, "b": 0.3, "c": 0.0})
    counts: Counter[str] = Counter()
    for seed in range(200):
        counts.update(
            place.structure.structure_id for place in plan_batch(request(13, known, seed=str(seed), rate=0.0))
        )
    shares = {name: count / 2600 for name, count in counts.items()}
    assert shares == pytest.approx({"a": 0.9 / 1.3, "b": 0.3 / 1.3, "c": 0.1 / 1.3}, abs=0.01)


def test_exploring_places_go_to_the_structures_one_knows_least_about() -> None:
    known = Known(tuple(Structure(name, "x") for name in "ab"), {"a": 0.9, "b": 0.9}, {"a": 0.01, "b": 0.29})
    places = [place for seed in range(50) for place in plan_batch(request(20, known, seed=str(seed)))]
    explored = Counter(place.structure.structure_id for place in places if place.explored)
    assert explored["b"] > 20 * explored["a"]


def test_the_propensity_is_the_share_in_which_a_structure_is_really_drawn() -> None:
    known = Known(tuple(Structure(name, "x") for name in "ab"), {"a": 0.8, "b": 0.2}, {"a": 0.1, "b": 0.3})
    places = [place for seed in range(300) for place in plan_batch(request(10, known, seed=str(seed)))]
    drawn = sum(place.structure.structure_id == "a" for place in places) / len(places)
    said = next(place.propensity for place in places if place.structure.structure_id == "a")
    assert drawn == pytest.approx(said, abs=0.02)


def test_designers_and_garments_of_the_base_are_named_and_their_ids_kept() -> None:
    known = Known(
        (Structure("1", "A [DESIGNER] picture of an [GARMENT], soft light", record_id="recS"),),
        designers=(Named("recD", "Amara Voss"),),
        garments=(Named("recG", "Luisa Trouser"),),
    )
    draft = PlainGenerator().make_prompts(request(1, known))[0]
    assert draft.text.startswith("An Amara Voss picture of a Luisa Trouser in ")
    assert (draft.designer, draft.garment) == (Named("recD", "Amara Voss"), Named("recG", "Luisa Trouser"))
    assert draft.structure_record_id == "recS"


def test_without_designers_a_skeletons_place_for_one_leaves_no_hole() -> None:
    known = Known((Structure("1", "Portrait of a woman in {garment}, designed by {designer}, at dusk"),))
    text = PlainGenerator().make_prompts(request(1, known))[0].text
    assert "designed" not in text
    assert ", at dusk." in text


def test_a_skeleton_without_open_places_still_gets_a_garment_and_somebody_to_wear_it() -> None:
    known = Known((Structure("1", "Minimal studio, paper backdrop"),))
    texts = {draft.text for draft in PlainGenerator().make_prompts(request(10, known))}
    assert len(texts) == 10
    assert all(" wears " in text for text in texts)


def test_what_a_structure_fixes_is_said_in_each_of_its_prompts() -> None:
    known = Known((Structure("1", "{subject} in {garment}, {light}", attributes={"light": "moonlight on snow"}),))
    assert all("moonlight on snow" in draft.text for draft in PlainGenerator().make_prompts(request(10, known)))


def test_structures_made_for_another_renderer_are_left_aside_while_others_fit() -> None:
    known = Known(
        (Structure("1", "x", renderer="Recraft"), Structure("2", "y", renderer="imagefx"), Structure("3", "z"))
    )
    assert {place.structure.structure_id for place in plan_batch(request(40, known))} == {"2", "3"}
    only = Known((Structure("1", "x", renderer="Recraft"),))
    assert {place.structure.structure_id for place in plan_batch(request(4, only))} == {"1"}


def test_without_any_structure_prompts_are_made_all_the_same_and_name_none() -> None:
    drafts = PlainGenerator().make_prompts(request(10, Known()))
    assert len(drafts) == 10
    assert {draft.structure_id for draft in drafts} == {None}


def test_each_renderer_is_addressed_in_its_own_manner() -> None:
    ends = {
        name: {draft.text.rsplit(". ", 1)[-1] for draft in PlainGenerator().make_prompts(request(10, renderer=name))}
        for name in ("ImageFX", "Recraft", "Somebody's")
    }
    assert not ends["ImageFX"] & ends["Recraft"]
    assert all(end.startswith("Realistic photo style") for end in ends["Recraft"])
    assert ends["Somebody's"]
