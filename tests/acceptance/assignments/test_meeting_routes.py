"""Meetings over HTTP, on a real database."""

from __future__ import annotations

import itertools
from datetime import date, timedelta
from typing import Any

import pytest

from tests.acceptance.assignments.conftest import AddPersons
from tests.acceptance.http.conftest import Door

README: dict[str, Any] = {
    "week_date": "2023-11-01",
    "exclude_names": ["Busy Person"],
    "candidates": [
        {"id": 1, "name": "Bro. Smith", "gender": "M", "roles": ["presidente"], "last_assignment_weeks_ago": 4},
        {"id": 2, "name": "Sis. Jones", "gender": "F", "roles": ["publicador"], "last_assignment_weeks_ago": 8},
        {"id": 3, "name": "Sis. Doe", "gender": "F", "roles": ["publicador"], "last_assignment_weeks_ago": 6},
    ],
    "activities": [
        {"type": "presidente", "title": "Chairman", "requires_assistant": False},
        {"type": "seamos_mejores_maestros", "title": "Bible Study", "requires_assistant": True},
    ],
}
_weeks = itertools.count()


@pytest.fixture
def week() -> str:
    """A Wednesday far from any other test's."""
    return str(date(2030, 1, 2) + timedelta(weeks=20 * next(_weeks)))


def candidate(i: int, roles: list[str], weeks: int | None = None, **more: Any) -> dict[str, Any]:
    return {"id": i, "name": f"Person {i}", "gender": "M", "roles": roles, "last_assignment_weeks_ago": weeks, **more}


def part(kind: str, *, assistant: bool = False, title: str = "Part") -> dict[str, Any]:
    return {"type": kind, "title": title, "requires_assistant": assistant}


def plan(door: Door, candidates: list[dict[str, Any]], activities: list[dict[str, Any]], **more: Any) -> Any:
    body = {"week_date": "2024-05-01", "candidates": candidates, "activities": activities, **more}
    answer = door.client.post("/v1/assign_meeting", json=body)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def chosen(planned: Any) -> list[tuple[int | None, int | None]]:
    return [
        tuple(None if one is None else one["id"] for one in (each["publicador"], each["ayudante"]))  # type: ignore[misc]  # two of them
        for each in planned["assignments"]
    ]


def test_the_readme_s_meeting_gives_smith_and_jones_with_doe(door: Door) -> None:
    answer = door.client.post("/v1/assign_meeting", json=README).get_json()
    assert answer["week_date"] == "2023-11-01"
    first, second = answer["assignments"]
    assert (first["tema"], first["publicador"]) == ("Chairman", {"id": 1, "nombre": "Bro. Smith", "genero": "M"})
    assert (first["ayudante"], second["publicador"]["nombre"]) == (None, "Sis. Jones")
    assert second["ayudante"] == {"id": 3, "nombre": "Sis. Doe", "genero": "F"}
    assert second["reasons"] == [
        "Sis. Jones: has the role publicador; 8 weeks without a duty.",
        "Sis. Doe, assistant: has the role publicador, of the same gender as the lead; 6 weeks without a duty.",
        "Sis. Jones waits longer, and leads 'Bible Study'.",
    ]
    assert answer["fairness"] == {
        "places": 3, "filled": 3, "candidates_eligible": 3, "candidates_used": 3, "double_duty": 0,
        "mean_weeks_idle": 6.0, "longest_idle_left_out": None, "load_max": 1, "load_gini": 0.0,
    }  # fmt: skip


def test_the_only_one_who_can_lead_does_so_twice_and_it_is_said(door: Door) -> None:
    planned = plan(door, [candidate(1, ["presidente"], 4)], [part("presidente")] * 2)
    assert chosen(planned) == [(1, None), (1, None)]
    assert planned["fairness"]["double_duty"] == 1
    assert "more than one duty" in planned["assignments"][0]["reasons"][1]


def test_nobody_assists_twice_or_beside_another_duty(door: Door) -> None:
    two = [candidate(1, ["publicador"], 4), candidate(2, ["publicador"], 5)]
    planned = plan(door, two, [part("seamos_mejores_maestros", assistant=True)] * 2)
    pairs = chosen(planned)
    assert [assistant for _, assistant in pairs].count(None) == 1
    assistant = next(assistant for _, assistant in pairs if assistant)
    assert {lead for lead, _ in pairs} == {3 - assistant}


def test_a_place_that_nobody_can_take_stays_empty_and_says_why(door: Door) -> None:
    people = [candidate(1, ["presidente"], 1), candidate(2, ["publicador"], 9), candidate(3, [], 9, gender="F")]
    activities = [part("oracion"), part("presidente"), part("seamos_mejores_maestros", assistant=True)]
    planned = plan(door, people, activities)
    assert chosen(planned) == [(None, None), (None, None), (2, None)]
    reasons = [each["reasons"] for each in planned["assignments"]]
    assert reasons[0] == ["Nobody for 'Part': no candidate has the role oracion."]
    assert "rested less than 2 weeks" in reasons[1][0]
    assert reasons[2][-1] == "No assistant for 'Part': all who could take it have another duty."
    assert chosen(plan(door, [], [part("generic", assistant=True)])) == [(None, None)]
    assert plan(door, people, [])["assignments"] == []


def test_an_assistant_is_of_the_lead_s_gender_so_the_pair_decides_who_leads(door: Door) -> None:
    people = [
        candidate(1, ["publicador"], 30), candidate(2, ["publicador"], 3, gender="F"),
        candidate(3, ["publicador"], 2, gender=" f "),
    ]  # fmt: skip
    assert chosen(plan(door, people, [part("seamos_mejores_maestros", assistant=True)])) == [(2, 3)]


def test_whoever_s_weeks_are_unknown_counts_as_waiting_longest_but_by_one_week_only(door: Door) -> None:
    people = [candidate(1, ["a"], 6), candidate(2, ["a"], None)]
    assert chosen(plan(door, people, [part("a")])) == [(2, None)]
    # As an assistant's weeks count once and a lead's twice, the longer waiting one leads.
    pair = [candidate(1, ["publicador", "a"], 6), candidate(2, ["publicador"], None)]
    assert chosen(plan(door, pair, [part("publicador", assistant=True)])) == [(2, 1)]


def test_exclusions_go_by_id_and_by_name_without_case_and_outer_blanks(door: Door) -> None:
    people = [candidate(1, ["a"], 9, name="Ángel "), candidate(2, ["a"], 8), candidate(3, ["a"], 7)]
    assert chosen(plan(door, people, [part("a")], exclude_names=["  ÁNGEL"], exclude_ids=[2])) == [(3, None)]
    assert chosen(plan(door, people, [part("a")], exclude_names=None, exclude_ids=None)) == [(1, None)]


def test_the_meeting_is_seen_as_a_whole_and_not_part_by_part(door: Door) -> None:
    # Part by part, the first would take the only one who can do the second.
    people = [candidate(1, ["a", "b"], 9), candidate(2, ["a"], 3)]
    assert chosen(plan(door, people, [part("a"), part("b")])) == [(2, None), (1, None)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"week_date": "soon"}, {"week_date": None}, {"week_date": "0001-01-01"}, {"candidates": None},
        {"candidates": [candidate(1, [])] * 2}, {"candidates": [candidate(n, []) for n in range(501)]},
        {"activities": [part("a")] * 61}, {"activities": [{"title": "x"}]}, {"activities": [{"type": "x"}]},
        {"candidates": [candidate(1, [], -1)]}, {"candidates": [{"id": 1, "name": "x", "gender": "M"}]},
        {"candidates": [candidate(1, [], name=5)]}, {"exclude_names": "Busy Person"}, {"exclude_ids": ["x"]},
        {"activities": [part("x" * 101)]}, {"candidates": [candidate(2**63, [])]},
    ],
)  # fmt: skip
def test_a_meeting_that_makes_no_sense_is_refused(door: Door, wrong: dict[str, Any]) -> None:
    answer = door.client.post("/v1/assign_meeting", json={**README, **wrong})
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json"), answer.text
    assert answer.get_json()["errors"]


def entries(door: Door, *ids: int) -> list[dict[str, Any]]:
    history: list[dict[str, Any]] = door.client.get("/v1/history?page_size=200").get_json()
    return [entry for entry in history if entry["person_id"] in ids]


def test_only_candidates_who_are_stored_by_id_and_name_have_a_history(
    door: Door, add_persons: AddPersons, week: str
) -> None:
    one, other = add_persons({}, {})
    people = [candidate(one, ["a"], name=f"  person {one}"), candidate(other, ["b"], name="Somebody Else")]
    assert chosen(plan(door, people, [part("a"), part("b")], week_date=week)) == [(one, None), (other, None)]
    (entry,) = entries(door, one, other)
    assert (entry["person_id"], entry["role"], entry["week_date"], entry["result"]) == (one, "a", week, None)


def test_the_same_week_sent_again_replaces_that_week(door: Door, add_persons: AddPersons, week: str) -> None:
    one, other = add_persons({}, {})
    people = [candidate(one, ["a"]), candidate(other, ["a"])]
    for _ in range(2):
        assert chosen(plan(door, people, [part("a")], week_date=week)) == [(one, None)]
    friday = str(date.fromisoformat(week) + timedelta(days=2))
    assert chosen(plan(door, people, [part("a")], week_date=friday, exclude_ids=[one])) == [(other, None)]
    assert [(entry["person_id"], entry["week_date"]) for entry in entries(door, one, other)] == [(other, friday)]


def test_what_earlier_weeks_gave_counts_unless_the_request_says_weeks(
    door: Door, add_persons: AddPersons, week: str
) -> None:
    one, other = add_persons({}, {})

    def of_week(number: int, *weeks: int | None) -> list[tuple[int | None, int | None]]:
        people = [candidate(i, ["a"], given) for i, given in zip((one, other), weeks, strict=True)]
        day = str(date.fromisoformat(week) + timedelta(weeks=number))
        return chosen(plan(door, people, [part("a")], week_date=day))

    assert of_week(0, None, None) == [(one, None)]
    assert of_week(1, None, None) == [(other, None)]  # the first has rested one week only
    assert of_week(2, None, None) == [(one, None)]  # and the other now
    assert of_week(3, None, None) == [(other, None)]
    assert of_week(4, 9, None) == [(one, None)]
    assert of_week(5, None, None) == [(other, None)]


def test_among_equals_the_one_who_was_accepted_before_and_then_the_less_loaded_is_chosen(
    door: Door, add_persons: AddPersons, week: str
) -> None:
    busy, plain, liked = add_persons({"assignments_last_4w": 2}, {}, {"assignments_last_4w": 9})
    people = [candidate(i, ["a"], 5) for i in (busy, plain, liked)]
    assert chosen(plan(door, people, [part("a")], week_date=week)) == [(plain, None)]
    door.client.post("/v1/feedback", json={"role": "a", "person_id": liked, "result": "aceptada"})
    planned = plan(door, people, [part("a")], week_date=week)
    assert chosen(planned) == [(liked, None)]
    assert "expected to be accepted 67%, 9 duties of late" in planned["assignments"][0]["reasons"][-1]


def test_a_large_meeting_is_planned_in_time(door: Door) -> None:
    roles = [["publicador", *(["a"] if n % 3 else []), *(["b"] if n % 4 else [])] for n in range(200)]
    people = [candidate(n, roles[n], 2 + n * 7 % 40, gender="MF"[n % 2]) for n in range(200)]
    activities = [part(("a", "b", "seamos_mejores_maestros")[n % 3], assistant=n % 3 == 2) for n in range(30)]
    planned = plan(door, people, activities)
    assert planned["fairness"]["filled"] == planned["fairness"]["places"] == 40
