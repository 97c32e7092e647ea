"""The simulator itself: its log, its faults, its other services, and that it never outlives its starter."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import requests

from simulator import Simulator

ROOT = Path(__file__).resolve().parents[2]
CHAT = "/openai/v1/chat/completions"


def client(simulator: Simulator, key: str = "k") -> openai.OpenAI:
    return openai.OpenAI(api_key=key, base_url=simulator.openai_url, max_retries=0)


def say(simulator: Simulator, key: str = "k", **more: Any) -> Any:
    with client(simulator, key) as connected:
        body: dict[str, Any] = {"model": "gpt-6-luna", "messages": [{"role": "user", "content": "hi"}], **more}
        return connected.chat.completions.create(**body)


def stream(simulator: Simulator, **more: Any) -> list[Any]:
    messages: Any = [{"role": "user", "content": "hi"}]
    with client(simulator) as connected:
        return list(connected.chat.completions.create(model="gpt-6-luna", messages=messages, stream=True, **more))


def test_the_log_keeps_order_bodies_headers_and_statuses(simulator: Simulator) -> None:
    requests.post(
        f"{simulator.base_url}/callbacks/done?x=1",
        data=b'{"a": 1}',
        headers={"X-Batuta-Signature": "sha256=00"},
        timeout=5,
    )
    requests.get(f"{simulator.base_url}/airtable/v0/app/t", timeout=5)

    first, second = simulator.log()

    assert (first["method"], first["path"], first["query"], first["body"], first["text"]) == (
        "POST",
        "/callbacks/done",
        {"x": "1"},
        {"a": 1},
        '{"a": 1}',
    )
    assert first["headers"]["x-batuta-signature"] == "sha256=00"
    assert (first["status"], second["status"]) == (200, 401)
    assert simulator.count("/callbacks", "post") == 1
    assert simulator.count("/callbacks", "GET") == 0


def test_a_reset_forgets_log_faults_answers_and_data(simulator: Simulator) -> None:
    simulator.seed_airtable("app", [{"name": "t", "fields": [{"name": "a"}], "records": []}])
    simulator.fault("/callbacks", status=500, times=None)
    simulator.answer(content="scripted")
    simulator.configure(strategist={"disabled": True})
    simulator.reset()

    assert requests.post(f"{simulator.base_url}/callbacks/x", timeout=5).status_code == 200
    assert say(simulator).choices[0].message.content == "Simulated answer to: hi"
    assert requests.post(f"{simulator.base_url}/strategist/api/batch/run", timeout=5).status_code == 200
    assert (
        requests.get(
            f"{simulator.base_url}/airtable/v0/app/t", headers={"Authorization": "Bearer p"}, timeout=5
        ).status_code
        == 403
    )


def test_a_fault_strikes_as_often_as_ordered_after_what_it_skips(simulator: Simulator) -> None:
    simulator.fault("/callbacks", skip=1, times=2, status=503, retry_after=9, body={"busy": True})

    answers = [requests.post(f"{simulator.base_url}/callbacks/x", timeout=5) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200, 503, 503, 200]
    assert (answers[1].headers["Retry-After"], answers[1].json()) == ("9", {"busy": True})


def test_a_fault_can_wait_for_a_method_and_a_body(simulator: Simulator) -> None:
    simulator.fault(CHAT, match={"model": "gpt-6-sol"}, status=500, times=None)

    assert say(simulator).choices
    with pytest.raises(openai.InternalServerError):
        say(simulator, model="gpt-6-sol")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/_faults", {"route": "/x", "staus": 500}),
        ("/_answers", {"contnet": "x"}),
        ("/_settings", {"airtable": {"speed": 1}}),
        ("/_settings", {"moon": {}}),
    ],
)
def test_a_misspelt_order_is_an_error_and_not_a_test_that_passes(
    simulator: Simulator, path: str, body: dict[str, Any]
) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        simulator.control("POST", path, body)

    caught.value.close()
    assert caught.value.code == 400


def test_an_answer_can_be_scripted_by_model_and_by_what_was_said(simulator: Simulator) -> None:
    simulator.answer(json={"plan": []}, contains="plan it", times=1)
    simulator.answer(content="I am the strong one", model="gpt-6-sol", usage={"completion_tokens": 99})

    assert (
        say(simulator, messages=[{"role": "user", "content": "plan it"}]).choices[0].message.content == '{"plan": []}'
    )
    assert (
        say(simulator, messages=[{"role": "user", "content": "plan it"}])
        .choices[0]
        .message.content.startswith("Simulated")
    )
    strong = say(simulator, model="gpt-6-sol")
    assert (strong.choices[0].message.content, strong.usage.completion_tokens) == ("I am the strong one", 99)


def test_a_stream_comes_in_pieces_and_ends_with_its_usage(simulator: Simulator) -> None:
    chunks = stream(simulator, stream_options={"include_usage": True})

    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Simulated answer to: hi"
    )
    assert len(chunks) > 3
    assert chunks[-1].usage.total_tokens > 0


def test_a_stream_can_break_in_its_middle(simulator: Simulator) -> None:
    simulator.fault(CHAT, stream_error={"message": "gone", "code": 502})

    with pytest.raises(openai.APIError, match="gone"):
        stream(simulator)


@pytest.mark.parametrize(
    ("more", "kind", "code"),
    [
        ({"model": "gpt-4.1-nano"}, openai.NotFoundError, "model_not_found"),
        ({"max_tokens": 5}, openai.BadRequestError, "unsupported_parameter"),
        ({"temperature": 0.5}, openai.BadRequestError, "unsupported_value"),
        ({"model": "gpt-4o", "temperature": 5}, openai.BadRequestError, "invalid_value"),
        ({"messages": []}, openai.BadRequestError, "empty_array"),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "strict": True, "schema": {"type": "object", "properties": {"b": {}}}},
                }
            },
            openai.BadRequestError,
            "invalid_json_schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
            openai.BadRequestError,
            "invalid_value",
        ),
    ],
)
def test_what_the_vendor_refuses_is_refused(
    simulator: Simulator, more: dict[str, Any], kind: type[openai.APIStatusError], code: str
) -> None:
    with pytest.raises(kind) as caught:
        say(simulator, **more)

    assert caught.value.code == code


def test_a_bad_key_is_refused(simulator: Simulator) -> None:
    with pytest.raises(openai.AuthenticationError):
        say(simulator, key="invalid")


def test_the_optimizer_trains_scores_and_explains(simulator: Simulator) -> None:
    simulator.configure(optimizer={"train": {"status": "skipped", "reason": "too few samples"}, "insights": None})
    trained = requests.post(f"{simulator.base_url}/optimizer/train", json={}, timeout=5)
    scored = requests.post(f"{simulator.base_url}/optimizer/score_structures", json={}, timeout=5).json()
    insights = requests.get(f"{simulator.base_url}/optimizer/structure_prompt_insights", timeout=5).json()

    assert (trained.status_code, trained.json()["status"]) == (200, "skipped")
    assert all(isinstance(one["structure_id"], int) for one in scored["structures"])
    assert "insights" not in insights


def test_the_strategist_makes_ideas_or_says_why_not(simulator: Simulator) -> None:
    run = f"{simulator.base_url}/strategist/api/batch/run"
    simulator.configure(strategist={"ideas": 3})
    made = requests.post(run, json={"whatever": 1}, timeout=5).json()
    simulator.configure(strategist={"disabled": True})
    disabled = requests.post(run, timeout=5)

    assert (made["totalGenerated"], len(made["ideas"])) == (3, 3)
    assert (disabled.status_code, disabled.json()) == (400, {"error": "Batch generation is disabled"})


def test_the_generator_makes_what_is_asked_and_refuses_what_is_not_a_number(simulator: Simulator) -> None:
    generate = f"{simulator.base_url}/generator/generate-prompts"
    prompts = requests.post(generate, json={"num_prompts": 10, "renderer": "ImageFX"}, timeout=5).json()["prompts"]
    simulator.configure(generator={"short_by": 2, "as_text": True})
    short = requests.post(generate, json={"num_prompts": 10, "renderer": "ImageFX"}, timeout=5).json()["prompts"]

    assert set(prompts[0]) == {"promptText", "designerId", "garmentId", "promptStructureId", "renderer"}
    assert len({prompt["promptText"] for prompt in prompts}) == 10
    assert len(short) == 8
    assert isinstance(short[0], str)
    for bad in ({"num_prompts": 0, "renderer": "x"}, {"num_prompts": 1, "renderer": ""}, {"renderer": "x"}, [1]):
        assert requests.post(generate, json=bad, timeout=5).status_code == 422


def test_the_generator_takes_preferences(simulator: Simulator) -> None:
    update = f"{simulator.base_url}/generator/update_preferences"
    body = {"global_preference_vector": {"linen": 0.5}, "exploration_rate": 7, "structure_scores": {"rec1": 0.5}}

    answer = requests.post(update, json=body, timeout=5).json()

    assert (answer["status"], answer["exploration_rate"], answer["structures_with_scores"]) == ("success", 1.0, 1)
    assert requests.post(update, json={}, timeout=5).status_code == 422


def test_slow_answers_wait_side_by_side(simulator: Simulator) -> None:
    async def run() -> float:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def one() -> int:
                async with session.get(f"{simulator.base_url}/slow?seconds=0.5") as response:
                    await response.read()
                    return response.status

            started = time.perf_counter()
            statuses = await asyncio.gather(*(one() for _ in range(400)))
            assert set(statuses) == {200}
            return time.perf_counter() - started

    assert asyncio.run(run()) < 2.5
    counts = simulator.control("GET", "/_slow")
    assert (counts["open"], counts["served"]) == (0, 400)
    assert counts["peak"] > 300
    assert simulator.count() == 0  # neither in the log nor in its way


def test_it_ends_with_its_starter_however_that_went() -> None:
    script = (
        "import json, os, sys\n"
        "from simulator import Simulator\n"
        "simulator = Simulator()\n"
        "simulator.start()\n"
        "print(json.dumps([simulator.base_url, simulator._process.pid]), flush=True)\n"
        "os._exit(9)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    base_url, _ = json.loads(done.stdout)

    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            requests.get(f"{base_url}/_health", timeout=1)
        except requests.ConnectionError:
            return
        time.sleep(0.05)
    pytest.fail("the simulator outlived its starter")


def test_stopping_twice_is_harmless() -> None:
    simulator = Simulator()
    simulator.start()
    simulator.stop()
    simulator.stop()

    with pytest.raises(requests.ConnectionError):
        requests.get(f"{simulator.base_url}/_health", timeout=1)
