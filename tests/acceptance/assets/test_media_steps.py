from __future__ import annotations

import base64
import json
import time
from decimal import Decimal
from typing import Any

import pytest
import requests

from app.assets.media import read_facts
from tests.acceptance.assets.conftest import FILMS, IMAGES, Studio
from tests.engine.promises import hold_promises

PRO, FLASH, OMNI = "gemini-3-pro-image", "gemini-3.1-flash-image", "gemini-omni-1.1-flash"
FILM_DOLLARS = Decimal("0.810880")  # 8 s of 5792 tokens at $17.5 a million


def draw(key: str = "pic", prompt: str = "a lighthouse", **config: Any) -> dict[str, Any]:
    return {"id": key, "model": "imagen_4_ultra", "prompt": prompt, "output_variable": key, "config": config}


def shoot(key: str = "film", prompt: str = "waves", **config: Any) -> dict[str, Any]:
    return {"id": key, "model": "veo_3_1", "prompt": prompt, "output_variable": key, "config": config}


def assets_of(run: dict[str, Any], key: str = "pic") -> list[dict[str, Any]]:
    assets: list[dict[str, Any]] = run["result"]["result"][key]["assets"]
    return assets


def error_of(run: dict[str, Any], key: str) -> dict[str, Any]:
    return next(step["error"] for step in run["steps"] if step["key"] == key)


def asked_of(studio: Studio, route: str = IMAGES) -> list[str]:
    return [entry["path"].rpartition("/")[2].partition(":")[0] for entry in studio.simulator.log(route, "POST")]


# --- images ----------------------------------------------------------------------------------------------------------


def test_an_image_is_kept_as_a_file_and_the_ledger_holds_its_name(studio: Studio) -> None:
    run = studio.run(draw(aspect_ratio="16:9", quality="hd", negative_prompt="people"))

    [asset] = assets_of(run)
    assert (asset["media_type"], asset["width"], asset["height"]) == ("image/png", 64, 36)
    for address, who in ((f"/assets/{asset['hash']}", "ann"), (asset["url"], None)):
        answer = studio.ask("GET", address, who)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "image/png")
        assert read_facts(answer.content) is not None
    [(status, cost, response, request)] = studio.calls(run["task_id"])
    assert (status, cost) == ("answered", Decimal("0.134"))
    assert response["asset"]["hash"] == asset["hash"]
    assert len(json.dumps([response, request])) < 2000
    [entry] = studio.simulator.log(IMAGES)
    assert entry["body"]["generationConfig"]["imageConfig"] == {"aspectRatio": "16:9", "imageSize": "2K"}
    assert entry["body"]["contents"][0]["parts"][0]["text"].endswith("None of this is to be seen: people")
    assert studio.paid(run["task_id"]) == Decimal("0.134")
    hold_promises(studio.trial, run["task_id"])


def test_several_images_are_several_calls(studio: Studio) -> None:
    run = studio.run(draw(num_images="3"))
    assert len({asset["hash"] for asset in assets_of(run)}) == 3
    assert [row[0] for row in studio.calls(run["task_id"])] == ["answered"] * 3
    assert studio.paid(run["task_id"]) == Decimal("0.402")


def test_of_several_images_those_that_are_there_are_not_made_again(studio: Studio) -> None:
    studio.simulator.fault(IMAGES, status=503, skip=2)
    run = studio.run(draw(num_images=3))
    assert run["status"] == "completed"
    assert len(asked_of(studio)) == 4
    assert studio.paid(run["task_id"]) == Decimal("0.402")


def test_an_image_can_be_shown_to_a_model_that_looks_and_to_one_that_draws(studio: Studio) -> None:
    look = {"id": "seen", "model": "image_analysis_ai", "prompt": "Good?", "input_image": "{pic}"}
    again = {**draw("other"), "input_image": "{pic}"}
    run = studio.run(draw(), look, again)

    assert run["status"] == "completed"
    content = studio.ask("GET", assets_of(run)[0]["url"], None).content
    [looked] = studio.simulator.log("/google/v1beta/openai/chat")
    shown = looked["body"]["messages"][-1]["content"][1]["image_url"]["url"]
    assert shown == "data:image/png;base64," + base64.b64encode(content).decode()
    parts = studio.simulator.log(IMAGES)[1]["body"]["contents"][0]["parts"]
    assert base64.b64decode(parts[0]["inlineData"]["data"]) == content
    # The ledger holds the picture's name in the question, not its bytes.
    assert content[:64].hex() not in str(studio.calls(run["task_id"]))
    assert shown not in str(studio.calls(run["task_id"]))


@pytest.mark.parametrize(("reason", "models"), [("IMAGE_SAFETY", [PRO, FLASH]), ("PROHIBITED_CONTENT", [PRO, FLASH])])
def test_an_image_that_is_withheld_is_asked_of_the_next_model_once_each_and_paid_by_nobody(
    studio: Studio, reason: str, models: list[str]
) -> None:
    studio.simulator.answer(finish_reason=reason)
    run = studio.run(draw())
    assert asked_of(studio) == models
    assert error_of(run, "pic")["code"] == "refused"
    assert reason in error_of(run, "pic")["message"]
    assert studio.paid(run["task_id"]) == Decimal(0)


def test_what_one_model_withholds_another_may_make(studio: Studio) -> None:
    studio.simulator.answer(model=PRO, finish_reason="IMAGE_SAFETY")
    run = studio.run(draw())
    assert run["status"] == "completed"
    assert studio.paid(run["task_id"]) == Decimal("0.067")
    assert [row[0] for row in studio.calls(run["task_id"])] == ["rejected", "answered"]


def test_a_retired_model_gives_way_to_the_next(studio: Studio) -> None:
    studio.simulator.configure(google_media={"retired": [PRO]})
    assert studio.run(draw())["status"] == "completed"
    assert asked_of(studio) == [PRO, FLASH]


def test_what_comes_as_an_image_and_is_none_is_not_kept(studio: Studio) -> None:
    page = base64.b64encode(b"<html><script>alert(1)</script></html>").decode()
    studio.simulator.configure(google_media={"image_content": page})
    run = studio.run(draw())
    assert error_of(run, "pic")["code"] == "refused"
    assert [row[0] for row in studio.calls(run["task_id"])] == ["rejected", "rejected"]
    assert studio.paid(run["task_id"]) == Decimal("0.201")  # it was made all the same


@pytest.mark.parametrize(
    ("task", "said"),
    [
        (draw(duration=8), "duration does not apply to an image"),
        (draw(aspect_ratio="7:1", num_images=9), "num_images must be a whole number from 1 to 4; aspect_ratio must be"),
        (draw(quality="excellent"), "quality must be one of"),
        (shoot(num_images=2), "num_images does not apply to a film"),
        (shoot(duration="long"), "duration must be whole seconds"),
        (shoot(resolution="8k"), "resolution must be one of"),
        (shoot(resolution="4k"), "no price for 4k"),
        ({**draw(), "input_image": "https://evil.example/x.png"}, "input_image must be"),
        ({**draw(), "input_image": "0" * 64}, "There is no asset"),
    ],
)
def test_what_cannot_be_had_is_said_and_asked_of_nobody(studio: Studio, task: dict[str, Any], said: str) -> None:
    run = studio.run(task)
    assert said in error_of(run, task["id"])["message"]
    assert studio.simulator.count("/google/v1/") == 0
    assert studio.paid(run["task_id"]) == Decimal(0)


def test_another_owners_asset_cannot_be_used(studio: Studio) -> None:
    [mine] = assets_of(studio.run(draw()))
    task = {"id": "x", "model": "image_analysis_ai", "prompt": "?", "input_image": mine["hash"]}
    assert error_of(studio.run(task, who="bob"), "x")["code"] == "image_invalid"
    assert studio.run(task)["status"] == "completed"


def test_a_run_that_may_not_spend_makes_nothing(studio: Studio) -> None:
    run_id = studio.start(draw(), max_cost_usd=0.1)
    studio.trial.await_status(run_id, "paused_budget")
    assert studio.simulator.count(IMAGES) == 0
    assert studio.ask("POST", f"/runs/{run_id}/budget", json={"max_cost_usd": 1}).status_code == 200
    assert studio.finish(run_id)["status"] == "completed"


def test_no_more_than_four_images_of_a_run_are_made_at_once(studio: Studio) -> None:
    studio.simulator.configure(answers={"latency_s": 0.4})
    run = studio.run(*[draw(f"p{n}") for n in range(9)], kind="linear")
    assert run["status"] == "completed"
    entries = studio.simulator.log(IMAGES)
    spans = [(entry["at"], entry["at"] + entry["duration_s"]) for entry in entries]
    assert len(spans) == 9
    assert 2 <= max(sum(a <= at < b for a, b in spans) for at, _ in spans) <= 4


# --- film ------------------------------------------------------------------------------------------------------------


def test_a_film_is_ordered_once_watched_while_parked_and_settled_by_its_tokens(studio: Studio) -> None:
    studio.simulator.configure(google_media={"film_delay_s": 4})
    run_id = studio.start(shoot(duration=8, aspect_ratio="9:16", resolution="1080p", generate_audio=False))
    studio.trial.await_step(run_id, "film", "parked")
    [(status, job)] = studio.trial.ask("select status, vendor_job_id from calls where run_id = :run", run=run_id)
    assert status == "sent"
    assert job.startswith("v1_film-")
    [(reserved,)] = studio.trial.ask("select reserved_usd from runs where run_id = :run", run=run_id)
    assert reserved == Decimal("0.816")

    run = studio.finish(run_id)
    [asset] = assets_of(run, "film")
    assert (asset["media_type"], asset["seconds"], asset["width"]) == ("video/mp4", 8.0, 108)
    assert studio.ask("GET", asset["url"], None).headers["Content-Type"] == "video/mp4"
    assert studio.orders() == 1
    assert studio.paid(run["task_id"]) == FILM_DOLLARS
    assert "silent" in studio.simulator.log(FILMS, "POST")[0]["body"]["input"]
    hold_promises(studio.trial, run_id)


def test_a_worker_killed_while_a_film_is_made_orders_none_again(studio: Studio) -> None:
    studio.simulator.configure(google_media={"film_delay_s": 6})
    run_id = studio.start(shoot())
    studio.trial.await_step(run_id, "film", "parked")
    for worker in studio.trial.workers.living:
        worker.kill()
    studio.trial.workers.start(1)
    run = studio.finish(run_id)
    assert run["status"] == "completed"
    assert studio.orders() == 1
    assert studio.paid(run["task_id"]) == FILM_DOLLARS


def test_a_worker_killed_while_it_looks_at_a_film_orders_none_again(studio: Studio) -> None:
    studio.simulator.fault(FILMS, method="GET", delay_s=20)
    run_id = studio.start(shoot())
    studio.trial.await_that(lambda: studio.simulator.count(FILMS, "GET") == 1)
    studio.trial.owner(run_id, "film").kill()
    assert studio.finish(run_id)["status"] == "completed"
    assert studio.orders() == 1


def test_an_order_whose_answer_was_never_heard_is_counted_and_left_to_a_person(studio: Studio) -> None:
    studio.simulator.fault(FILMS, method="POST", delay_s=5)
    run_id = studio.start(shoot())
    studio.trial.await_that(lambda: studio.orders() == 1)
    studio.trial.owner(run_id, "film").kill()
    run = studio.finish(run_id)
    assert error_of(run, "film")["code"] == "film_unheard"
    assert "retry the run to order another" in error_of(run, "film")["message"]
    assert studio.orders() == 1
    assert studio.paid(run["task_id"]) == Decimal("0.816")

    assert studio.ask("POST", f"/runs/{run_id}/retry", json={}).status_code == 200
    again = studio.finish(run_id)
    assert again["status"] == "completed"
    assert studio.orders() == 2
    assert studio.paid(again["task_id"]) == Decimal("0.816") + FILM_DOLLARS


@pytest.mark.parametrize("fault", [{"drop": "after"}, {"drop": "before"}, {"body": "a proxy's page"}])
def test_an_order_that_broke_off_is_not_repeated(studio: Studio, fault: dict[str, Any]) -> None:
    studio.simulator.fault(FILMS, method="POST", **fault)
    run = studio.run(shoot())
    assert error_of(run, "film")["code"] == "film_unheard"
    assert studio.orders() == 1


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_order_that_was_turned_away_is_tried_again(studio: Studio, status: int) -> None:
    studio.simulator.fault(FILMS, method="POST", status=status)
    assert studio.run(shoot())["status"] == "completed"
    assert studio.orders() == 2


def test_a_look_that_fails_says_nothing_about_the_film(studio: Studio) -> None:
    studio.simulator.fault(FILMS, method="GET", status=503, times=2)
    studio.simulator.fault("/google/v1beta/files", status=404)
    run = studio.run(shoot())
    assert run["status"] == "completed"
    assert studio.orders() == 1


def test_a_film_that_failed_is_ordered_again_and_one_that_is_refused_is_not(studio: Studio) -> None:
    studio.simulator.configure(google_media={"film_ends": "failed"})
    run_id = studio.start(shoot())
    studio.trial.await_that(lambda: studio.orders() == 2)
    studio.simulator.configure(google_media={"film_ends": "completed"})
    run = studio.finish(run_id)
    assert run["status"] == "completed"
    assert studio.paid(run["task_id"]) == FILM_DOLLARS

    ordered = studio.orders()
    studio.simulator.configure(google_media={"film_ends": "failed", "film_error": {"message": "Blocked for safety."}})
    refused = studio.run(shoot())
    assert error_of(refused, "film")["code"] == "refused"
    assert "Blocked for safety." in error_of(refused, "film")["message"]
    assert studio.orders() - ordered == 1
    assert studio.paid(refused["task_id"]) == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"film_uri": "http://169.254.169.254/x"},
        {"film_uri": "https://evil.example/x.mp4"},
        {"film_content": "PGh0bWw+"},
    ],
)
def test_a_film_from_elsewhere_or_that_is_none_is_given_up_and_counted(
    studio: Studio, settings: dict[str, Any]
) -> None:
    studio.simulator.configure(google_media=settings)
    run = studio.run(shoot())
    assert error_of(run, "film")["code"] == "film_unusable"
    assert studio.orders() == 1
    assert studio.paid(run["task_id"]) == Decimal("0.816")


def test_a_withdrawn_key_leaves_the_film_to_be_found_again(studio: Studio) -> None:
    refused = {"error": {"code": 403, "status": "PERMISSION_DENIED", "message": "no"}}
    studio.simulator.fault(FILMS, method="GET", status=403, body=refused)
    run = studio.run(shoot())
    assert error_of(run, "film")["code"] == "auth"
    assert studio.ask("POST", f"/runs/{run['task_id']}/retry", json={}).status_code == 200
    again = studio.finish(run["task_id"])
    assert again["status"] == "completed"
    assert studio.orders() == 1
    assert studio.paid(again["task_id"]) == FILM_DOLLARS


def test_a_film_of_a_cancelled_run_counts_at_its_worst_and_leaves_nothing_set_aside(studio: Studio) -> None:
    studio.simulator.configure(google_media={"film_delay_s": 60})
    run_id = studio.start(shoot())
    studio.trial.await_step(run_id, "film", "parked")
    studio.ask("POST", f"/runs/{run_id}/cancel", json={})
    run = studio.finish(run_id)
    assert (run["status"], run["cost"]["dollars"]) == ("cancelled", 0.816)
    assert studio.trial.ask("select reserved_usd from runs where run_id = :run", run=run_id) == [(Decimal(0),)]

    assert studio.ask("POST", f"/runs/{run_id}/retry", json={}).status_code == 200
    studio.trial.await_step(run_id, "film", "parked")
    assert studio.orders() == 1  # the retry finds the film that is still being made
    studio.ask("POST", f"/runs/{run_id}/cancel", json={})
    assert studio.paid(studio.finish(run_id)["task_id"]) == Decimal("0.816")


def test_the_films_of_a_run_are_made_one_by_one(studio: Studio) -> None:
    studio.simulator.configure(google_media={"film_delay_s": 1.5})
    run_id = studio.start(*[shoot(f"f{n}") for n in range(3)], kind="linear")
    most = 0
    deadline = time.monotonic() + 60
    while studio.trial.status(run_id) not in {"completed", "partial", "failed"} and time.monotonic() < deadline:
        question = "select count(*) from calls where run_id = :run and status = 'sent'"
        most = max(most, int(studio.trial.ask(question, run=run_id)[0][0]))
        time.sleep(0.02)
    assert studio.finish(run_id)["status"] == "completed"
    assert (most, studio.orders()) == (1, 3)


# --- templates, chats, estimates -------------------------------------------------------------------------------------


def test_a_campaign_is_made_with_its_image_its_evaluation_and_its_film(studio: Studio) -> None:
    variables = {"product": "a steel bottle", "audience": "hikers", "values": "honest", "video": True}
    body = studio.ask("POST", "/template/marketing_campaign", json=variables).json()
    assert (body["status"], body["degraded"], body["errors"]) == ("completed", [], [])
    assert body["result"]["product_image"]["assets"][0]["media_type"] == "image/png"
    assert body["result"]["promotional_video"]["assets"][0]["media_type"] == "video/mp4"
    assert body["result"]["image_evaluation"]


def test_a_dry_run_prices_images_and_film_and_makes_none(studio: Studio) -> None:
    document = {"workflow": [{"tasks": [draw(num_images=2), shoot(duration=10)]}], "dry_run": True}
    body = studio.ask("POST", "/workflow", json=document).json()
    assert {step["key"] for step in body["steps"]} == {"pic", "film"}
    assert studio.simulator.log() == []


def test_models_for_images_and_film_are_there(studio: Studio) -> None:
    models = {one["name"]: one for one in studio.ask("GET", "/models").json()["models"]}
    assert models["imagen_4_ultra"]["available"] is True
    assert models["veo_3_1"]["available"] is True


def test_a_chat_takes_an_assets_hash_of_its_own_callers(studio: Studio) -> None:
    [asset] = assets_of(studio.run(draw()))
    message = {"message": "What is this?", "images": [asset["hash"]]}
    answer = studio.ask("POST", "/chat", json=message)
    assert (answer.status_code, answer.json()["model_used"]) == (200, "image_analysis_ai")
    content = studio.ask("GET", asset["url"], None).content
    assert base64.b64encode(content).decode() in str(studio.simulator.log("/google/v1beta/openai/chat"))

    for who, images in (("bob", [asset["hash"]]), ("ann", ["0" * 64])):
        refused = studio.ask("POST", "/chat", who, json={"message": "?", "images": images})
        assert refused.status_code == 422
        assert refused.json()["errors"] == {"images.0": ["There is no asset of this hash."]}


def test_a_film_is_played_by_ranges(studio: Studio) -> None:
    [asset] = assets_of(studio.run(shoot()), "film")
    whole = requests.get(studio.url + asset["url"], timeout=10).content
    part = requests.get(studio.url + asset["url"], headers={"Range": "bytes=10-19"}, timeout=10)
    assert (part.status_code, part.content) == (206, whole[10:20])
    assert part.headers["Content-Range"] == f"bytes 10-19/{len(whole)}"
