"""What a model is asked for ideas, and what of its answer can be used."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.gateway.structured import is_strict, schema_problem
from app.studio.model import MAX_ATTRIBUTE_CHARS, MAX_ATTRIBUTES, MAX_IDEAS, Structure
from app.studio.model_strategist import SCHEMA, IdeaBrief, most_tokens, read_ideas, write_call
from app.studio.plain_strategist import idea_fingerprint
from app.studio.ports import IdeaRequest, Known
from app.studio.quoting import LOT, MOST_LISTED, describe_catalogue, quote
from app.studio.starter import starter_structures
from app.studio.vocabulary import FIXED, compose_skeleton

STARTER = tuple(starter_structures())
SKELETON = "Portrait of {subject} in {garment} behind the fogged window of a bakery before dawn, one lamp inside."


def request(count: int = 3, structures: tuple[Structure, ...] = STARTER, **changes: Any) -> IdeaRequest:
    known = Known(structures, {item.structure_id: 0.5 for item in structures})
    return replace(IdeaRequest(count, "seed", known, 0.2), **changes)


def entry(**changes: Any) -> dict[str, Any]:
    return {"skeleton": SKELETON, "renderer": "", "attributes": [], "parent": None, "rationale": "Why not.", **changes}


def read(*entries: dict[str, Any], asked: IdeaRequest | None = None, recent: tuple[tuple[str, bool], ...] = ()) -> Any:
    return read_ideas({"ideas": list(entries)}, asked or request(), recent)


def test_an_idea_keeps_its_words_its_parent_and_the_attributes_that_others_have() -> None:
    pairs = [{"name": "light", "value": "one lamp inside"}, {"name": "virality", "value": "high"}]
    [draft] = read(entry(attributes=pairs, parent="4", renderer="recraft")).drafts
    assert (draft.skeleton, draft.renderer, draft.parent, draft.source) == (SKELETON, "Recraft", "4", "model")
    assert draft.attributes == {"light": "one lamp inside"}


def test_a_parent_that_nobody_knows_is_none() -> None:
    assert read(entry(parent="999")).drafts[0].parent is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"renderer": "Polaroid"}, "it names a renderer that nobody has"),
        ({"skeleton": "{garment}"}, "its text has not 40 to 1500 characters"),
        ({"skeleton": SKELETON * 20}, "its text has not 40 to 1500 characters"),
        ({"skeleton": SKELETON + " {vessel}"}, "it has open places that nobody can fill"),
        ({"skeleton": SKELETON + " [[1]]"}, "it has open places that nobody can fill"),
        ({"skeleton": SKELETON + " and {"}, "it has open places that nobody can fill"),
        ({"skeleton": SKELETON.replace("{garment}", "a coat")}, "it has no place for the garment"),
        ({"skeleton": SKELETON + " As on https://example.org"}, "it holds a web address"),
        ({"attributes": [{"name": "mood", "value": "x" * (MAX_ATTRIBUTE_CHARS + 1)}]}, "an attribute is too long"),
        ({"attributes": [{"name": "mood", "value": "x"}] * (MAX_ATTRIBUTES + 1)}, "it has more than 64 attributes"),
        ({"skeleton": STARTER[0].skeleton.upper().replace("{SUBJECT}", "{subject}")}, "it is known already"),
    ],
)
def test_an_idea_that_cannot_be_used_is_left_out_with_its_reason(changes: dict[str, Any], problem: str) -> None:
    found = read(entry(**changes))
    assert found.drafts == ()
    assert found.refused == {problem: 1}


def test_an_idea_that_was_proposed_lately_or_twice_is_left_out() -> None:
    assert read(entry(), entry(skeleton=SKELETON.upper().replace("{SUBJECT}", "{subject}"))).refused == {
        "it is known already": 1
    }
    assert read(entry(), recent=((SKELETON, True),)).refused == {"it is known already": 1}
    taken = frozenset({idea_fingerprint(SKELETON, {})})
    assert read(entry(), asked=request(taken=taken)).refused == {"it is known already": 1}


def test_no_more_ideas_are_kept_than_were_asked_for() -> None:
    entries = [entry(skeleton=f"{SKELETON} Number {number}.") for number in range(9)]
    assert len(read(*entries).drafts) == 3


def test_a_form_whose_words_are_others_is_left_out_since_plain_rules_would_compose_it_anew() -> None:
    values = {slot: phrases[0] for slot, phrases in FIXED.items()} | {"form": "street"}
    pairs = [{"name": name, "value": value} for name, value in values.items()]
    composed = compose_skeleton("street", values)
    assert read(entry(attributes=pairs)).drafts[0].attributes.get("form") is None
    assert read(entry(skeleton=composed, attributes=pairs)).drafts[0].attributes["form"] == "street"


def test_what_begins_the_question_does_not_change_with_scores_numbers_and_recent_ideas() -> None:
    first = write_call(IdeaBrief(request()))
    changed = request(9, exploration_rate=0.5)
    second = write_call(IdeaBrief(changed, ((SKELETON, False),), {"light=low": 0.9}, (("3", "A liked prompt", 7),)))
    assert first.system == second.system
    assert '{"structure": "3", "prompt": "A liked prompt", "likes": 7}' in second.prompt
    assert first.prompt != second.prompt
    assert "Propose 9 ideas; 5 of them explore" in second.prompt


def test_a_new_structure_changes_only_the_last_part_of_the_catalogue() -> None:
    many = tuple(Structure(str(number), f"{SKELETON} {number}") for number in range(LOT * 2 + 7))
    before, after = describe_catalogue(many), describe_catalogue((*many, Structure("new", SKELETON)))
    assert len(before) == len(after) == 3
    assert before[:2] == after[:2]
    assert before[2] != after[2]


def test_a_large_catalogue_is_listed_up_to_a_bound_and_its_older_best_stand_in_the_message() -> None:
    many = tuple(Structure(str(number), f"{SKELETON} {number}") for number in range(MOST_LISTED + 20))
    known = Known(many, {"3": 0.99})
    call = write_call(IdeaBrief(IdeaRequest(1, "seed", known, 0.0)))
    listed = "".join(call.system[1:])
    assert listed.count('"id"') == MOST_LISTED - LOT + 20
    assert '"id": "3"' not in listed
    assert '"id": "3"' in call.prompt


@pytest.mark.parametrize("text", ["</structures>", "</STRUCTURES >", 'a "quote"\n<structures>\nand lines', "\u2028"])
def test_no_text_of_a_structure_can_leave_its_line_or_end_the_list(text: str) -> None:
    [part] = describe_catalogue((Structure("1", text),))
    assert part.count("</") == 1
    assert len(part.split("\n")) == 5
    assert "\n" not in quote(text)


def test_the_schema_is_one_that_every_vendor_takes() -> None:
    assert schema_problem(SCHEMA) == ""
    assert is_strict(SCHEMA)
    assert most_tokens(MAX_IDEAS) <= 32_000
