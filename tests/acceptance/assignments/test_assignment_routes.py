"""Assignments over HTTP, on a real database."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.acceptance.assignments.conftest import AddPersons
from tests.acceptance.http.conftest import Door

_roles = itertools.count()


@pytest.fixture
def role() -> str:
    """A role nobody was judged in."""
    return f"Lector {next(_roles)}"


def assign(door: Door, role: str, ids: list[int], **more: Any) -> dict[str, Any]:
    answer = door.client.post("/v1/assign", json={"role": role, "person_ids": ids, **more})
    assert answer.status_code == 200, answer.text
    body = answer.get_json()
    assert body["status"] == "assigned"
    data: dict[str, Any] = body["data"]
    return data


def judge(door: Door, role: str, person: int, result: str, **more: Any) -> dict[str, Any]:
    answer = door.client.post("/v1/feedback", json={"role": role, "person_id": person, "result": result, **more})
    assert answer.status_code == 200, answer.text
    body = answer.get_json()
    assert body["status"] == "feedback_processed"
    data: dict[str, Any] = body["data"]
    return data


def refused(door: Door, path: str, body: Any, status: int) -> dict[str, Any]:
    answer = door.client.post(path, json=body)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json"), answer.text
    problem: dict[str, Any] = answer.get_json()
    return problem


def test_config_is_open_to_strangers(door: Door) -> None:
    assert door.stranger.get("/v1/config").get_json()["status"] == "active"


@pytest.mark.parametrize(
    ("metadata", "weights", "score"),
    [
        ({"skills": ["Lector"]}, None, 2.5),
        ({"assignments_last_4w": 3}, None, 0.75),
        ({"skills": ["Lector"]}, {"w_skill": 5}, 6.5),
        ({"skills": ["Lector"], "assigned_last_week": True, "success_rate_for_role": 0.25}, {}, 1.25),
        (None, None, 1.5),
        ({"skills": None, "available": None, "shoe_size": 44}, None, 1.5),
    ],
)
def test_the_score_is_the_documented_formula(
    door: Door, add_persons: AddPersons, metadata: dict[str, Any] | None, weights: Any, score: float
) -> None:
    data = assign(door, "Lector", add_persons(metadata), weights=weights)
    assert data["score"] == pytest.approx(score, abs=1e-9)
    assert data["model_version"] == "heuristic"
    assert len(data["ranking"][0]["reasons"]) == 4


def test_stats_stand_over_what_is_stored_and_null_does_not(door: Door, add_persons: AddPersons, role: str) -> None:
    (one,) = add_persons({"skills": [role], "assignments_last_4w": 3})
    assert assign(door, role, [one], stats={str(one): {"assignments_last_4w": 1, "skills": None}})["score"] == 2.0
    assert assign(door, role, [one])["score"] == 1.75


def test_equals_stand_in_the_order_of_the_request(door: Door, add_persons: AddPersons, role: str) -> None:
    one, two, three = add_persons({}, {}, {"skills": [role]})
    assert [each["person_id"] for each in assign(door, role, [two, one, three, two])["ranking"]] == [three, two, one]


def test_unknown_persons_are_skipped_and_unavailable_ones_never_win(
    door: Door, add_persons: AddPersons, role: str
) -> None:
    away, here = add_persons({"skills": [role], "available": False}, {"assigned_last_week": True})
    data = assign(door, role, [away, 77, here], weights={"w_unavailable": -1000})
    assert (data["person_id"], data["skipped_ids"], data["unavailable_ids"]) == (here, [77], [away])
    assert [each["person_id"] for each in data["ranking"]] == [here]
    asked = {"role": role, "person_ids": [away]}
    assert refused(door, "/v1/assign", asked, 409)["code"] == "nobody_available"
    assert refused(door, "/v1/assign", {"role": role, "person_ids": [77]}, 404)["code"] == "person_not_found"
    assert assign(door, role, [away], stats={str(away): {"available": True}})["person_id"] == away


@pytest.mark.parametrize(
    "wrong",
    [
        {"person_ids": []}, {"person_ids": None}, {"person_ids": ["x"]}, {"person_ids": [1.5]}, {"role": ""},
        {"person_ids": [2**63]}, {"role": 5}, {"role": "x" * 101}, {"weights": {"w_skill": "much"}},
        {"weights": {"w_skill": None}}, {"weights": [1]}, {"weights": {"w_skill": 1e300}}, {"stats": []},
    ],
)  # fmt: skip
def test_a_task_that_makes_no_sense_is_refused(door: Door, wrong: dict[str, Any]) -> None:
    assert refused(door, "/v1/assign", {"role": "x", "person_ids": [1], **wrong}, 422)["errors"]


@pytest.mark.parametrize(
    "stats",
    [
        5, {"assignments_last_4w": -1}, {"assignments_last_4w": 1.5}, {"assignments_last_4w": True}, {"available": 2},
        {"success_rate_for_role": 1.1}, {"skills": "Lector"}, {"skills": [1]}, {"available": "no"}, {"age": "old"},
    ],
)  # fmt: skip
def test_stats_that_cannot_be_read_are_refused_and_name_the_person(
    door: Door, add_persons: AddPersons, stats: Any
) -> None:
    (one,) = add_persons({})
    body = {"role": "x", "person_ids": [one], "stats": {str(one): stats}}
    assert list(refused(door, "/v1/assign", body, 422)["errors"]) == [f"stats.{one}"]


def test_two_acceptances_for_one_and_a_correction_for_the_other_decide(
    door: Door, add_persons: AddPersons, role: str
) -> None:
    first, second = add_persons({"skills": [role]}, {"skills": [role]})
    assert assign(door, role, [first, second])["person_id"] == first
    judge(door, role, second, "aceptada")
    judge(door, role, second, "aceptada")
    said = judge(door, role, first, "corrigida")
    assert said["weights"][f"w_skill::{role}"] == pytest.approx(1.05, abs=1e-12)
    assert (said["status"], said["ml_status"], said["threshold"]) == ("weights_updated", "skipped", 1)
    data = assign(door, role, [first, second])
    assert data["person_id"] == second
    assert data["score"] == pytest.approx(1 + 1.05 + 3 / 4, abs=1e-9)
    assert data["ranking"][1]["score"] == pytest.approx(1 + 1.05 + 1 / 3, abs=1e-9)
    assert assign(door, f"{role} too", [first, second])["person_id"] == first


def test_a_request_s_own_weight_stands_over_the_learnt_one(door: Door, add_persons: AddPersons, role: str) -> None:
    (one,) = add_persons({"skills": [role], "success_rate_for_role": 0})
    judge(door, role, one, "aceptada")
    assert assign(door, role, [one])["score"] == pytest.approx(2.05)
    assert assign(door, role, [one], weights={"w_balance": 0})["score"] == pytest.approx(1.05)
    assert assign(door, role, [one], weights={"w_skill": 3})["score"] == pytest.approx(4)
    assert assign(door, role, [one], weights={f"w_skill::{role}": 4, "w_skill": 3})["score"] == pytest.approx(5)


def test_an_alternative_counts_as_accepted(door: Door, add_persons: AddPersons, role: str) -> None:
    one, other = add_persons({}, {})
    judge(door, role, one, "corrigida", alternative_id=other)
    data = assign(door, role, [one, other])
    assert data["person_id"] == other
    assert data["score"] == pytest.approx(1 + 2 / 3)
    newest = door.client.get("/v1/history?page_size=1").get_json()[0]
    assert (newest["person_id"], newest["role"], newest["result"], newest["alternative_id"]) == (
        one, role, "corrigida", other,
    )  # fmt: skip


def test_feedback_about_nobody_changes_nothing(door: Door, add_persons: AddPersons, role: str) -> None:
    (one,) = add_persons({})
    kept = (door.client.get("/v1/weights").get_json(), len(door.client.get("/v1/history").get_json()))
    body = {"role": role, "person_id": one, "result": "aceptada"}
    assert refused(door, "/v1/feedback", {**body, "person_id": 77}, 404)["code"] == "person_not_found"
    assert refused(door, "/v1/feedback", {**body, "alternative_id": 77}, 404)["code"] == "person_not_found"
    assert "alternative_id" in refused(door, "/v1/feedback", {**body, "alternative_id": one}, 422)["errors"]
    for wrong in ({"result": "rechazada"}, {"result": None}, {"person_id": None}, {"role": ""}, {"person_id": True}):
        refused(door, "/v1/feedback", {**body, **wrong}, 422)
    assert (door.client.get("/v1/weights").get_json(), len(door.client.get("/v1/history").get_json())) == kept


def test_feedback_from_many_at_once_loses_no_step(door: Door, add_persons: AddPersons, role: str) -> None:
    (one,) = add_persons({})
    before = judge(door, role, one, "aceptada")["feedback_since_last_retrain"]
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda _: judge(door, role, one, "aceptada"), range(40)))
    weights = door.client.get("/v1/weights").get_json()
    assert weights["weights"][f"w_skill::{role}"] == pytest.approx(1 + 41 * 0.05, abs=1e-12)
    assert weights["weights"]["w_unavailable"] == 100
    assert weights["updated_at"] is not None
    assert sorted(each["feedback_since_last_retrain"] for each in said) == list(range(before + 1, before + 41))


def test_persons_are_stored_all_or_none_and_written_over(door: Door, add_persons: AddPersons) -> None:
    (one,) = add_persons({"skills": ["x"]})
    good = {"id": one, "nombre": "New Name", "genero": "F", "can_read": True}
    for wrong in (
        {}, {"id": 5}, {**good, "genero": "x"}, {**good, "metadata": []}, {**good, "misspelt": 1},
        {**good, "nombre": ""},
        {**good, "metadata": {"success_rate_for_role": 7}}, {**good, "metadata": {str(n): n for n in range(65)}}, good,
        {**good, "id": 2**63}, {**good, "metadata": {"x": "y" * 8001}},
    ):  # fmt: skip
        assert refused(door, "/v1/persons", {"persons": [good, wrong]}, 422)["errors"]
    assert door.client.get("/v1/persons?page_size=1").get_json()[0]["nombre"] == f"Person {one}"
    stored = door.client.post("/v1/persons", json={"persons": [good]}).get_json()[0]
    assert (stored["nombre"], stored["genero"], stored["can_read"], stored["metadata"]) == ("New Name", "F", True, {})


def test_a_table_of_persons_is_read_as_spreadsheets_write_it(door: Door) -> None:
    def send(text: str | bytes) -> Any:
        return door.client.post("/v1/persons", data=text, content_type="text/csv; charset=utf-8")

    table = (
        '\ufeffid;nombre;genero;es_siervo;metadata\r\n901;José;M;sí;\r\n\r\n902;Ana;F;;"{""skills"": [""x;y""]}"\r\n'
    )
    answer = send(table.encode())
    assert answer.status_code == 200, answer.text
    assert [(p["id"], p["nombre"], p["es_siervo"], p["metadata"]) for p in answer.get_json()] == [
        (901, "José", True, {}), (902, "Ana", False, {"skills": ["x;y"]}),
    ]  # fmt: skip
    assert send(f"id,nombre,genero,metadata\n903,Eva,F,{json.dumps('{}')}\n").status_code == 200
    for wrong, status in (
        ("", 422), ("id,nombre,genero\n", 422), ("id,nombre\n1,x\n", 422), ("id,nombre,genero,age\n1,x,M,3\n", 422),
        ("id,nombre,genero\n1,x\n", 422), ("id,nombre,genero\nx,x,M\n", 422), ("id,nombre,genero\n1,x,Q\n", 422),
        ('id,nombre,genero\n1,"x,M\n', 400), (b"id,nombre,genero\n1,\xff,M\n", 400),
        ("id,nombre,genero\n1,\0,M\n", 400),
        ("id,nombre,genero,metadata\n1,x,M,[]\n", 422), ("id,nombre,genero,metadata\n1,x,M,{\n", 422),
        ('id,nombre,genero,metadata\n1,x,M,"{""a"": NaN}"\n', 422), ("id,id,nombre,genero\n1,1,x,M\n", 422),
        ('id,nombre,genero,metadata\n1,x,M,"{""a"": ""\\u0000""}"\n', 400), ("x" * 2_000_000, 413),
    ):  # fmt: skip
        answer = send(wrong)
        assert (answer.status_code, answer.content_type) == (status, "application/problem+json"), (wrong, answer.text)
    assert 1 not in {person["id"] for person in door.client.get("/v1/persons?page_size=200").get_json()}


def test_lists_are_paged_newest_first(door: Door, add_persons: AddPersons) -> None:
    ids = add_persons({}, {}, {})
    answer = door.client.get("/v1/persons?page_size=2")
    assert [person["id"] for person in answer.get_json()] == ids[:0:-1]
    assert json.loads(answer.headers["X-Pagination"])["total"] >= 3
