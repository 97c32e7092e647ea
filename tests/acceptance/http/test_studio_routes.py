"""The studio over HTTP, on real servers; workers are tried elsewhere, so what is started stays where it is."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import sqlalchemy as sa

from tests.acceptance.http.conftest import Door

AT_ONCE = {"Prefer": "respond-async"}


def fresh() -> str:
    return uuid.uuid4().hex


def end_batches(door: Door) -> None:
    with door.application.engine.begin() as connection:
        connection.execute(sa.text("update batches set status = 'ended' where status = 'active'"))


def test_a_like_is_counted_once_under_both_names_of_the_route(door: Door) -> None:
    record = fresh()
    first = door.client.post("/events/like", json={"record_id": record})
    assert first.status_code == 200
    assert first.get_json()["status"] in {"recorded", "threshold_reached"}
    again = door.client.post("/like_event", json={"record_id": record, "structure_id": 7})
    assert again.get_json()["status"] == "duplicate"
    assert again.get_json()["likes_since_last_retrain"] == first.get_json()["likes_since_last_retrain"]


def test_a_like_of_nothing_is_refused_and_a_number_is_as_good_as_a_text(door: Door) -> None:
    for body in ({}, {"record_id": ""}, {"record_id": None, "structure_id": ""}):
        answer = door.client.post("/events/like", json=body)
        assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert door.client.post("/events/like").status_code == 422
    for structure_id in (7, "7", 7.0):
        assert door.client.post("/events/like", json={"structure_id": structure_id}).status_code == 200


def test_curl_without_a_content_type_is_understood(door: Door) -> None:
    answer = door.client.post(
        "/events/like", data=f'{{"record_id": "{fresh()}"}}', content_type="application/x-www-form-urlencoded"
    )
    assert answer.status_code == 200


def test_a_repeated_key_counts_a_like_without_a_record_once(door: Door) -> None:
    headers = {"Idempotency-Key": fresh()}
    first = door.client.post("/events/like", json={"structure_id": "s"}, headers=headers)
    again = door.client.post("/events/like", json={"structure_id": "s"}, headers=headers)
    assert again.get_json() == first.get_json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    other = door.client.post("/events/like", json={"structure_id": "t"}, headers=headers)
    assert (other.status_code, other.get_json()["code"]) == (409, "idempotency_key_reused")
    assert door.admin.post("/events/like", json={"structure_id": "t"}, headers=headers).status_code == 200


def test_a_refused_request_does_not_use_its_key_up(door: Door) -> None:
    headers = {"Idempotency-Key": fresh()}
    assert door.client.post("/events/like", json={"record_id": 5}, headers=headers).status_code == 422
    assert door.client.post("/events/like", json={}, headers=headers).status_code == 422
    assert door.client.post("/events/like", json={"record_id": fresh()}, headers=headers).status_code == 200


def test_of_many_posts_under_one_key_one_starts_a_run(door: Door) -> None:
    before, headers = door.counts()["runs"], {"Idempotency-Key": fresh(), **AT_ONCE}

    def post(_: int) -> tuple[int, str]:
        answer = door.client.post("/events/manual_generate", json={"num_prompts": 1}, headers=headers)
        return answer.status_code, answer.get_json()["task_id"]

    with ThreadPoolExecutor(8) as pool:
        answers = set(pool.map(post, range(8)))
    assert len(answers) == 1
    assert door.counts()["runs"] == before + 1


def test_a_second_batch_joins_the_first_and_both_callers_may_read_it(door: Door) -> None:
    end_batches(door)
    first = door.admin.post("/events/daily_batch", data="{}", headers=AT_ONCE)
    key = {"Idempotency-Key": fresh(), **AT_ONCE}
    second = door.client.post("/events/daily_batch", json={"num_prompts": 3}, headers=key)
    assert (first.status_code, second.status_code) == (202, 202)
    run_id = first.get_json()["task_id"]
    assert second.get_json()["task_id"] == run_id
    assert second.get_json()["joined"] is True
    assert "joined" not in first.get_json()
    again = door.client.post("/events/daily_batch", json={"num_prompts": 3}, headers=key)
    assert again.get_json()["joined"] is True
    assert door.client.get(f"/runs/{run_id}").status_code == 200
    assert door.client.post(f"/runs/{run_id}/cancel").status_code == 404, "reading is not steering"
    assert door.admin.post(f"/runs/{run_id}/cancel").get_json()["status"] == "cancelled"
    end_batches(door)


def test_an_empty_body_is_fine_for_a_batch(door: Door) -> None:
    end_batches(door)
    answer = door.client.post("/events/daily_batch", headers=AT_ONCE)
    assert answer.status_code == 202
    run = door.client.get(answer.headers["Location"]).get_json()
    assert (run["kind"], run["result"]) == ("daily_batch", None)
    assert door.client.get("/batches").get_json()[0]["task_id"] == run["task_id"]
    end_batches(door)


def test_a_dry_run_of_a_batch_stores_nothing(door: Door) -> None:
    kept = door.counts()
    for path in ("/events/daily_batch", "/events/manual_generate"):
        body = door.client.post(path, json={"dry_run": True, "num_prompts": 30}).get_json()
        assert body["dry_run"] is True
        assert set(body) == {"dry_run", "steps", "estimated", "missing"}
    assert door.counts() == kept


def test_numbers_out_of_range_are_refused_by_name(door: Door) -> None:
    for path, body in (
        ("/events/daily_batch", {"num_ideas": 51}),
        ("/events/daily_batch", {"num_prompts": 501}),
        ("/events/daily_batch", {"num_prompts": -1}),
        ("/events/manual_generate", {"num_prompts": 0}),
        ("/events/manual_generate", {"num_prompts": True}),
        ("/events/manual_generate", {"num_prompts": 1.5}),
        ("/events/daily_batch", {"renderer": "x" * 101}),
    ):
        answer = door.client.post(path, json=body, headers=AT_ONCE)
        assert answer.status_code == 422
        assert list(answer.get_json()["errors"]) == list(body)


def test_structures_are_stored_as_an_object_or_a_bare_array_and_shown_by_either_id(door: Door) -> None:
    number, record = f"9{fresh()[:6]}", f"rec{fresh()}"
    entry = {"structure_id": number, "record_id": record, "skeleton": "A coat, worn", "attributes": {"length": 3}}
    for body in ({"structures": [entry]}, [entry]):
        answer = door.client.post("/structures", json=body)
        assert answer.status_code == 200
        assert [item["structure_id"] for item in answer.get_json()] == [number]
    for any_id in (number, record):
        assert door.client.get(f"/structures/{any_id}").get_json()["attributes"] == {"length": 3}
    listed = door.client.get("/structures?page_size=1")
    assert listed.get_json()[0]["structure_id"] == number
    assert '"page_size":1' in listed.headers["X-Pagination"]


def test_numbers_of_many_digits_come_back_as_they_were_meant(door: Door) -> None:
    number = f"8{fresh()[:6]}"
    entry = {
        "structure_id": number,
        "skeleton": "A coat",
        "attributes": {"far": -2.5e125, "near": 1e-300, "whole": 2**63},
    }
    assert door.client.post("/structures", json=[entry]).get_json()[0]["attributes"] == entry["attributes"]


def test_syncing_without_airtable_is_503_and_names_the_variable(door: Door) -> None:
    answer = door.client.post("/structures/sync", json={})
    assert (answer.status_code, answer.get_json()["code"]) == (503, "not_configured")
    assert "AIRTABLE_API_KEY" in answer.get_json()["detail"]


def test_only_an_administrator_resets_the_counter(door: Door) -> None:
    door.client.post("/events/like", json={"record_id": fresh()})
    assert door.client.post("/reset_counter").status_code == 403
    assert door.admin.post("/reset_counter").get_json() == {"status": "reset", "likes_since_last_retrain": 0}
    assert door.client.get("/status").get_json()["likes_since_last_retrain"] == 0


def test_a_workflow_waits_for_its_worker_and_is_its_owners(door: Door) -> None:
    agent = min(door.application.catalog.agents)
    document = {"workflow": [{"tasks": [{"agent": agent}]}], "variables": {"n": 1}, "max_cost_usd": 0.25}
    answer = door.client.post("/workflow", json=document, headers={"Prefer": "wait=1"})
    assert answer.status_code == 202
    assert answer.headers["Preference-Applied"] == "wait=1"
    run = door.client.get(answer.headers["Location"]).get_json()
    assert (run["kind"], run["max_cost_usd"], run["cost"]) == ("workflow", 0.25, {"tokens": 0, "dollars": 0.0})
    assert door.client.get("/runs?kind=workflow").get_json()[0]["task_id"] == run["task_id"]
    assert door.client.post(f"/runs/{run['task_id']}/pause").get_json()["status"] == "paused"
    assert door.client.post(f"/runs/{run['task_id']}/resume").status_code == 200
    raised = door.client.post(f"/runs/{run['task_id']}/budget", json={"max_cost_usd": 2})
    assert raised.get_json()["max_cost_usd"] == 2
    assert door.client.post(f"/runs/{run['task_id']}/cancel").get_json()["status"] == "cancelled"
    late = door.client.post(f"/runs/{run['task_id']}/cancel")
    assert (late.status_code, late.get_json()["code"]) == (409, "wrong_state")


def test_a_model_step_without_a_provider_is_503_before_anything_is_stored(door: Door) -> None:
    kept = door.counts()
    document = {"workflow": [{"tasks": [{"model": "fast_ai", "prompt": "Hello"}]}]}
    answer = door.client.post("/workflow", json=document)
    assert (answer.status_code, answer.get_json()["code"]) == (503, "not_configured")
    assert "OPENAI_API_KEY" in answer.get_json()["detail"]
    assert "OPENAI_BASE_URL" in answer.get_json()["detail"]
    assert door.counts() == kept


def test_the_events_of_a_run_are_streamed_to_its_end(door: Door) -> None:
    agent = min(door.application.catalog.agents)
    started = door.client.post("/workflow", json={"workflow": [{"tasks": [{"agent": agent}]}]}, headers=AT_ONCE)
    run_id = started.get_json()["task_id"]
    door.client.post(f"/runs/{run_id}/cancel")
    stream = door.client.get(f"/runs/{run_id}/events").text
    numbers = [line.removeprefix("id: ") for line in stream.splitlines() if line.startswith("id: ")]
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]
    assert len(numbers) > 1
    last = {"Last-Event-ID": numbers[-2]}
    rest = door.client.get(f"/runs/{run_id}/events", headers=last).text
    assert [line for line in rest.splitlines() if line.startswith("id: ")] == [f"id: {numbers[-1]}"]


def test_a_tokens_secret_is_not_kept_for_a_repeated_key(door: Door) -> None:
    headers = {"Idempotency-Key": fresh()}
    body = {"name": "n8n", "scope": "client"}
    first, again = (door.admin.post("/tokens", json=body, headers=headers).get_json() for _ in range(2))
    assert again == {**first, "token": None}
    with door.application.engine.connect() as connection:
        kept = connection.execute(sa.text("select string_agg(idempotency::text, '') from idempotency")).scalar_one()
    assert first["token"] not in kept
    assert door.admin.delete(f"/tokens/{first['id']}").status_code == 204
