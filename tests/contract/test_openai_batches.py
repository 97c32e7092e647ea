"""OpenAI's batches with the real SDK, against the simulator: in, waiting, out, and every other end they can take."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import pytest
import requests

from app.errors import FatalError, PersistentError, StepError, TransientError
from app.gateway.model import BatchItem, BatchResult, ChatRequest
from app.providers.openai_batches import OpenAIBatches
from app.providers.openai_compatible import OpenAICompatible
from simulator import Simulator

Answer = TypeVar("Answer")
BATCHES, FILES = "/openai/v1/batches", "/openai/v1/files"
ASKED = ChatRequest(
    "openai",
    "gpt-6-luna",
    "fast_ai",
    ({"role": "user", "content": "hello"},),
    100,
    max_tokens_field="max_completion_tokens",
)
DAY_S = 86_400


def item(name: str, content: str = "hello", **more: Any) -> BatchItem:
    return BatchItem(name, replace(ASKED, messages=({"role": "user", "content": content},), **more))


def do(simulator: Simulator, use: Callable[[OpenAIBatches], Awaitable[Answer]], key: str = "k") -> Answer:
    async def run() -> Answer:
        provider = OpenAICompatible(name="openai", api_key=key, base_url=simulator.openai_url)
        try:
            return await use(OpenAIBatches(provider.connection))
        finally:
            await provider.close()

    return asyncio.run(run())


def submit(simulator: Simulator, *items: BatchItem, mark: str = "m1") -> str:
    return do(simulator, lambda batches: batches.submit_batch(items, mark))


def results(simulator: Simulator, batch_id: str) -> dict[str, BatchResult]:
    return {result.name: result for result in do(simulator, lambda batches: batches.read_results(batch_id))}


def ended(simulator: Simulator, batch_id: str) -> bool:
    return do(simulator, lambda batches: batches.read_batch(batch_id)).ended


def fail(simulator: Simulator, use: Callable[[OpenAIBatches], Awaitable[Any]], key: str = "k") -> StepError:
    with pytest.raises(StepError) as caught:
        do(simulator, use, key)
    return caught.value


def error_of(result: BatchResult) -> StepError:
    assert isinstance(result.error, StepError)
    return result.error


def test_a_batch_is_a_file_of_requests_under_our_mark(simulator: Simulator) -> None:
    batch_id = submit(simulator, item("run-1_a", "one"), item("run-1_b", "two"), mark="block-7")

    upload, order = simulator.log(FILES)[0], simulator.log(BATCHES, "POST")[0]
    lines = [json.loads(line) for line in upload["text"].splitlines() if line.startswith("{")]
    assert [(line["custom_id"], line["method"], line["url"]) for line in lines] == [
        ("run-1_a", "POST", "/v1/chat/completions"),
        ("run-1_b", "POST", "/v1/chat/completions"),
    ]
    assert lines[1]["body"]["messages"] == [{"role": "user", "content": "two"}]
    assert order["body"]["metadata"] == {"batuta_mark": "block-7"}
    assert (order["body"]["completion_window"], batch_id[:6]) == ("24h", "batch_")


def test_a_batch_waits_and_then_answers_each_item(simulator: Simulator) -> None:
    simulator.configure(openai={"batch_delay_s": 3600})
    simulator.answer(json={"n": 7}, contains="number")
    batch_id = submit(simulator, item("a", "a number", response_schema={"type": "object"}), item("b"))
    before = do(simulator, lambda batches: batches.read_batch(batch_id))
    simulator.configure(openai={"clock_offset_s": 3601})
    after = do(simulator, lambda batches: batches.read_batch(batch_id))

    found = results(simulator, batch_id)

    assert (before.ended, before.counts["total"]) == (False, 2)
    assert (after.ended, dict(after.counts)) == (True, {"total": 2, "completed": 2, "failed": 0})
    answers = {name: result.answer for name, result in found.items()}
    assert answers["a"] is not None
    assert answers["b"] is not None
    assert (answers["a"].text, answers["b"].text) == ('{"n": 7}', "Simulated answer to: hello")
    assert answers["a"].usage.prompt_tokens > 0


def test_an_item_the_vendor_refuses_fails_alone_as_it_would_have_live(simulator: Simulator) -> None:
    batch_id = submit(simulator, item("good"), item("bad", temperature=0.5), item("none", ""))

    found = results(simulator, batch_id)

    error = error_of(found["bad"])
    assert (type(error), error.code, error.details["sent"]) == (PersistentError, "unsupported_value", False)
    assert found["good"].answer is not None
    assert len(found) == 3


def test_a_tool_s_call_comes_out_of_a_batch(simulator: Simulator) -> None:
    simulator.answer(tool_calls=[{"id": "c", "name": "weather", "input": {"town": "Paris"}}])

    answer = results(simulator, submit(simulator, item("a")))["a"].answer

    assert answer is not None
    assert answer.tool_calls == ({"id": "c", "name": "weather", "input": {"town": "Paris"}},)


def test_what_a_batch_did_not_come_to_within_its_day_may_be_asked_live(simulator: Simulator) -> None:
    simulator.configure(openai={"batch_delay_s": 2 * DAY_S, "batch_finishes": 1})
    batch_id = submit(simulator, item("a"), item("b"), item("c"))
    waiting = ended(simulator, batch_id)
    simulator.configure(openai={"clock_offset_s": DAY_S + 1})

    found = results(simulator, batch_id)

    assert (waiting, ended(simulator, batch_id)) == (False, True)
    assert found["a"].answer is not None
    for name in ("b", "c"):
        error = error_of(found[name])
        assert (type(error), error.code, error.details["sent"]) == (TransientError, "batch_expired", False)


def test_a_cancelled_batch_keeps_what_it_answered(simulator: Simulator) -> None:
    simulator.configure(openai={"batch_delay_s": 3600, "batch_finishes": 1})
    batch_id = submit(simulator, item("a"), item("b"))
    do(simulator, lambda batches: batches.cancel_batch(batch_id))

    assert ended(simulator, batch_id)
    found = results(simulator, batch_id)
    assert found["a"].answer is not None
    assert (type(found["b"].error), error_of(found["b"]).code) == (TransientError, "batch_cancelled")


def test_cancelling_what_has_ended_is_harmless(simulator: Simulator) -> None:
    batch_id = submit(simulator, item("a"))
    assert ended(simulator, batch_id)

    do(simulator, lambda batches: batches.cancel_batch(batch_id))

    assert results(simulator, batch_id)["a"].answer is not None


def test_a_batch_refused_as_a_whole_fails_each_item_with_its_reason(simulator: Simulator) -> None:
    simulator.fault(FILES, method="POST", status=200, body={"id": "file-other", "object": "file"})
    missing = fail(simulator, lambda batches: batches.submit_batch([item("a")], "m"))
    batch_id = submit(simulator, item("a"), item("b", extra={"stream": True}))

    found = results(simulator, batch_id)

    assert missing.code == "http_404"
    assert set(found) == {"a", "b"}
    assert (type(found["a"].error), error_of(found["a"]).code) == (PersistentError, "batch_failed")
    assert "Streaming is not supported" in str(found["a"].error)


def test_a_batch_whose_id_was_lost_is_found_by_its_mark(simulator: Simulator) -> None:
    wanted = submit(simulator, item("a"), mark="wanted")
    with_file = simulator.log(BATCHES, "POST")[0]["body"]
    for number in range(105):
        order = {**with_file, "metadata": {"batuta_mark": f"other-{number}"}}
        requests.post(f"{simulator.base_url}{BATCHES}", json=order, headers={"Authorization": "Bearer k"}, timeout=5)

    assert do(simulator, lambda batches: batches.find_batch("wanted", ["a"])) == wanted
    assert simulator.count(BATCHES, "GET") == 2
    assert do(simulator, lambda batches: batches.find_batch("never", ["a"])) is None


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([], "1 to 50000"),
        ([item("a"), item("a")], "names repeat"),
        ([item("a"), item("b", model="gpt-6-sol")], "one model"),
    ],
)
def test_what_no_batch_can_hold_is_not_sent(simulator: Simulator, items: list[BatchItem], said: str) -> None:
    error = fail(simulator, lambda batches: batches.submit_batch(items, "m"))

    assert (type(error), error.code, error.details["sent"]) == (PersistentError, "batch_invalid", False)
    assert said in str(error)
    assert simulator.count() == 0


def test_text_that_no_wire_can_carry_is_our_own_fault(simulator: Simulator) -> None:
    error = fail(simulator, lambda batches: batches.submit_batch([item("a", "\ud800")], "m"))

    assert (type(error), error.details["sent"]) == (FatalError, False)
    assert simulator.count() == 0


def test_an_order_that_was_cut_off_may_stand(simulator: Simulator) -> None:
    simulator.fault(BATCHES, method="POST", drop="after")

    error = fail(simulator, lambda batches: batches.submit_batch([item("a")], "lost"))

    assert (type(error), error.details["sent"]) == (TransientError, True)
    assert do(simulator, lambda batches: batches.find_batch("lost", ["a"])) is not None


def test_a_refused_key_is_shown_once(simulator: Simulator) -> None:
    error = fail(simulator, lambda batches: batches.submit_batch([item("a")], "m"), key="invalid")

    assert (error.code, simulator.count()) == ("auth", 1)


def test_a_batch_that_is_not_there_is_no_model_that_is_gone(simulator: Simulator) -> None:
    error = fail(simulator, lambda batches: batches.read_batch("batch_none"))

    assert (type(error), error.code, error.details["blame"]) == (PersistentError, "http_404", "none")


def test_a_file_that_is_no_json_is_not_an_answer(simulator: Simulator) -> None:
    batch_id = submit(simulator, item("a"))
    assert ended(simulator, batch_id)
    simulator.fault(FILES, method="GET", status=200, body='{"custom_id": "a", "resp')

    error = fail(simulator, lambda batches: batches.read_results(batch_id))

    assert (type(error), error.code) == (TransientError, "unreadable_answer")


def test_an_answer_wins_over_an_error_of_the_same_name(simulator: Simulator) -> None:
    batch_id = submit(simulator, item("a"))
    assert ended(simulator, batch_id)
    body = {"choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}]}
    lines = [
        {"custom_id": "a", "response": {"status_code": 200, "body": body}},
        {"custom_id": "a", "response": None, "error": {"code": "batch_expired"}},
    ]
    simulator.fault(FILES, method="GET", status=200, body="\n".join(map(json.dumps, lines)), times=None)

    answer = results(simulator, batch_id)["a"].answer

    assert answer is not None
    assert answer.text == "hello"
