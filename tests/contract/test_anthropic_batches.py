"""Anthropic's batches with the real SDK over real sockets, and what can be known of one whose id was lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import pytest

from app.errors import PersistentError, ResourceError, StepError, TransientError
from app.gateway.model import BatchItem, BatchResult, Blame
from app.providers import anthropic_batches
from app.providers.anthropic_batches import BATCHES_PATH, AnthropicBatches, custom_ids
from app.providers.anthropic_messages import AnthropicMessages
from simulator import Simulator
from simulator.anthropic_wire import error_body
from tests.contract.test_chat_providers import ANTHROPIC as WIRE
from tests.contract.test_chat_providers import SCHEMA

Result = TypeVar("Result")
ROUTE = f"/anthropic{BATCHES_PATH}"
HOUR_S = 3600


def items(*names: str, **more: Any) -> list[BatchItem]:
    return [
        BatchItem(name, WIRE.request(messages=({"role": "user", "content": f"about {name}"},), **more))
        for name in names
    ]


def run(simulator: Simulator, ask: Callable[[AnthropicBatches], Awaitable[Result]]) -> Result:
    async def go() -> Result:
        provider = AnthropicMessages(name="anthropic", api_key="k", base_url=simulator.anthropic_url)
        try:
            return await ask(AnthropicBatches(provider.connection))
        finally:
            await provider.close()

    return asyncio.run(go())


def submit(simulator: Simulator, *names: str, **more: Any) -> str:
    return run(simulator, lambda batches: batches.submit_batch(items(*names, **more), "mark"))


def fail(simulator: Simulator, ask: Callable[[AnthropicBatches], Awaitable[Any]]) -> StepError:
    with pytest.raises(StepError) as caught:
        run(simulator, ask)
    return caught.value


def results(simulator: Simulator, batch_id: str) -> dict[str, BatchResult]:
    return {result.name: result for result in run(simulator, lambda batches: batches.read_results(batch_id))}


def later(simulator: Simulator, seconds: float) -> None:
    simulator.configure(anthropic={"clock_offset_s": seconds})


def test_every_answer_comes_back_under_its_name_in_whatever_order(simulator: Simulator) -> None:
    batch_id = submit(simulator, "a", "b", "c")

    found = run(simulator, lambda batches: batches.read_results(batch_id))

    assert [result.name for result in found] == ["c", "b", "a"]
    assert {result.name: result.answer.text for result in found if result.answer} == {
        name: f"Simulated answer to: about {name}" for name in ("a", "b", "c")
    }
    assert all(result.answer and result.answer.usage.output_tokens for result in found)


def test_requests_are_what_they_would_be_live(simulator: Simulator) -> None:
    submit(simulator, "a", response_schema=SCHEMA, extra={"output_config": {"effort": "low"}})

    assert simulator.log(ROUTE)[0]["body"] == {
        "requests": [
            {
                "custom_id": custom_ids(["a"], "mark")[0],
                "params": {
                    "model": WIRE.model,
                    "max_tokens": 2000,
                    "messages": [{"role": "user", "content": "about a"}],
                    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": SCHEMA}},
                },
            }
        ]
    }


def test_a_batch_is_at_work_until_it_has_ended(simulator: Simulator) -> None:
    simulator.configure(anthropic={"batch_delay_s": HOUR_S})
    batch_id = submit(simulator, "a", "b")

    before = run(simulator, lambda batches: batches.read_batch(batch_id))
    early = fail(simulator, lambda batches: batches.read_results(batch_id))
    later(simulator, HOUR_S + 1)
    after = run(simulator, lambda batches: batches.read_batch(batch_id))

    assert (before.ended, before.counts["processing"]) == (False, 2)
    assert (type(early), early.code, early.details["sent"]) == (TransientError, "batch_unfinished", False)
    assert (after.ended, after.counts["succeeded"], after.counts["processing"]) == (True, 2, 0)
    assert len(results(simulator, batch_id)) == 2


def test_an_item_s_error_is_what_it_would_have_been_live(simulator: Simulator) -> None:
    outcomes = {
        "gone": {"type": "not_found_error", "message": "model: x"},
        "busy": {"type": "overloaded_error", "message": "Overloaded"},
        "late": "expired",
        "stopped": "canceled",
    }
    by_id = dict(zip(custom_ids([*outcomes], "mark"), outcomes.values(), strict=True))
    simulator.configure(anthropic={"batch_outcomes": by_id})
    batch_id = submit(simulator, "fine", *outcomes)

    found = results(simulator, batch_id)

    told = {name: result.error for name, result in found.items() if isinstance(result.error, StepError)}
    assert {name: (type(error), error.code, error.details["blame"]) for name, error in told.items()} == {
        "gone": (PersistentError, "model_gone", Blame.RETIRED),
        "busy": (TransientError, "provider_unavailable", Blame.MODEL),
        "late": (TransientError, "batch_expired", Blame.NONE),
        "stopped": (TransientError, "batch_canceled", Blame.NONE),
    }
    assert not any(error.details["sent"] for error in told.values())
    assert found["fine"].answer is not None


def test_a_request_the_vendor_does_not_take_fails_alone(simulator: Simulator) -> None:
    wrong = items("wrong", extra={"thinking": {"type": "enabled", "budget_tokens": 1024}})
    batch_id = run(simulator, lambda batches: batches.submit_batch([*items("right"), *wrong], "mark"))

    found = results(simulator, batch_id)

    assert isinstance(found["wrong"].error, PersistentError)
    assert found["right"].answer is not None


def test_a_cancelled_batch_ends_with_what_was_not_done(simulator: Simulator) -> None:
    simulator.configure(anthropic={"batch_delay_s": HOUR_S})
    batch_id = submit(simulator, "a", "b")

    run(simulator, lambda batches: batches.cancel_batch(batch_id))

    assert run(simulator, lambda batches: batches.read_batch(batch_id)).ended
    assert [getattr(one.error, "code", "") for one in results(simulator, batch_id).values()] == ["batch_canceled"] * 2


def test_cancelling_what_has_ended_changes_nothing(simulator: Simulator) -> None:
    batch_id = submit(simulator, "a")
    simulator.fault(f"{ROUTE}/{batch_id}/cancel", status=409, body=error_body("conflict_error", "ended"))
    run(simulator, lambda batches: batches.read_batch(batch_id))

    run(simulator, lambda batches: batches.cancel_batch(batch_id))

    assert results(simulator, batch_id)["a"].answer is not None


def test_a_cancellation_that_did_not_arrive_is_an_error(simulator: Simulator) -> None:
    simulator.configure(anthropic={"batch_delay_s": HOUR_S})
    batch_id = submit(simulator, "a")
    simulator.fault(f"{ROUTE}/{batch_id}/cancel", status=409, body=error_body("conflict_error", "busy"))

    assert isinstance(fail(simulator, lambda batches: batches.cancel_batch(batch_id)), TransientError)


def test_an_unknown_batch_blames_no_model(simulator: Simulator) -> None:
    error = fail(simulator, lambda batches: batches.read_batch("msgbatch_none"))

    assert (type(error), error.code, error.details["blame"]) == (PersistentError, "not_found", Blame.NONE)


@pytest.mark.parametrize(
    ("fault", "kind", "sent"),
    [
        ({"status": 429, "body": error_body("rate_limit_error", "slow")}, TransientError, False),
        ({"status": 413, "body": error_body("request_too_large", "big")}, PersistentError, False),
        ({"drop": "after"}, TransientError, True),
        ({"status": 200, "body": "<html>welcome</html>"}, TransientError, True),
        ({"status": 200, "body": {"type": "odd"}}, TransientError, True),
    ],
)
def test_a_batch_that_may_stand_is_told_from_one_that_does_not(
    simulator: Simulator, fault: dict[str, Any], kind: type[StepError], *, sent: bool
) -> None:
    simulator.fault(ROUTE, method="POST", **fault)

    error = fail(simulator, lambda batches: batches.submit_batch(items("a"), "mark"))

    assert (type(error), error.details["sent"]) == (kind, sent)
    assert simulator.count(ROUTE, "POST") == 1


@pytest.mark.parametrize("fault", [{"drop": "before"}, {"status": 500}, {"status": 200, "body": "no"}])
def test_reading_costs_nothing_however_it_fails(simulator: Simulator, fault: dict[str, Any]) -> None:
    batch_id = submit(simulator, "a")
    # Without end: aiohttp fetches once more what was cut off.
    simulator.fault(f"{ROUTE}/{batch_id}", method="GET", times=None, **fault)

    assert fail(simulator, lambda batches: batches.read_batch(batch_id)).details["sent"] is False


def test_results_that_are_no_json_can_be_fetched_again(simulator: Simulator) -> None:
    batch_id = submit(simulator, "a")
    simulator.fault(f"{ROUTE}/{batch_id}/results", status=200, body="{half")

    error = fail(simulator, lambda batches: batches.read_results(batch_id))

    assert (type(error), error.details["sent"]) == (TransientError, False)
    assert results(simulator, batch_id)["a"].answer is not None


def test_results_that_are_kept_no_longer_are_gone_for_good(simulator: Simulator) -> None:
    old = {"id": "msgbatch_old", "processing_status": "ended", "archived_at": "2026-10-01T00:00:00Z"}
    simulator.fault(f"{ROUTE}/msgbatch_old", status=200, body=old)

    error = fail(simulator, lambda batches: batches.read_results("msgbatch_old"))

    assert (type(error), error.code, error.details["blame"]) == (PersistentError, "results_gone", Blame.NONE)


def test_one_garbled_answer_does_not_spoil_the_others(simulator: Simulator) -> None:
    batch_id = submit(simulator, "a", "b")
    good = {"content": [{"type": "text", "text": "yes"}], "stop_reason": "end_turn"}
    lines = [
        {"custom_id": "a", "result": {"type": "succeeded", "message": {"content": None}}},
        {"custom_id": "b", "result": {"type": "succeeded", "message": good}},
    ]
    written = "\n".join(json.dumps(line) for line in lines)
    simulator.fault(f"{ROUTE}/{batch_id}/results", status=200, body=written)

    found = results(simulator, batch_id)

    assert getattr(found["a"].error, "code", "") == "unreadable_answer"
    assert found["b"].answer is not None


def test_a_slow_vendor_is_not_waited_for_without_end(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anthropic_batches, "REQUEST_TIMEOUT_S", 0.2)
    batch_id = submit(simulator, "a")
    simulator.fault(f"{ROUTE}/{batch_id}", delay_s=2)

    error = fail(simulator, lambda batches: batches.cancel_batch(batch_id))

    assert isinstance(error, ResourceError)


@pytest.mark.parametrize("wrong", [[], items("a", "a")])
def test_what_no_batch_may_be_is_never_sent(simulator: Simulator, wrong: list[BatchItem]) -> None:
    error = fail(simulator, lambda batches: batches.submit_batch(wrong, "mark"))

    assert (type(error), error.code, error.details["sent"]) == (PersistentError, "batch_invalid", False)
    assert simulator.count(ROUTE) == 0


def find(simulator: Simulator, names: Iterable[str]) -> str | None:
    return run(simulator, lambda batches: batches.find_batch("mark", list(names)))


def test_an_ended_batch_is_found_by_the_names_in_its_results(simulator: Simulator) -> None:
    submit(simulator, "a", "x")
    lost = submit(simulator, "a", "b")
    submit(simulator, "a", "b", "c")

    assert find(simulator, ["b", "a"]) == lost


def test_another_s_batch_of_the_same_names_is_not_taken_for_ours(simulator: Simulator) -> None:
    run(simulator, lambda batches: batches.submit_batch(items("a", "b"), "another system's"))

    assert find(simulator, ["a", "b"]) is None


def test_names_that_leave_no_room_for_a_mark_come_back_as_they_are(simulator: Simulator) -> None:
    longest, short = "n" * 64, "x"
    lost = submit(simulator, longest, short)

    assert set(results(simulator, lost)) == {longest, short}
    assert find(simulator, [longest, short]) == lost


def test_a_batch_that_never_was_is_not_found(simulator: Simulator) -> None:
    submit(simulator, "a", "x")

    assert find(simulator, ["a", "b"]) is None
    assert find(simulator, ["a"]) is None


def test_a_batch_at_work_that_could_be_it_makes_the_caller_wait(simulator: Simulator) -> None:
    simulator.configure(anthropic={"batch_delay_s": HOUR_S})
    lost = submit(simulator, "a", "b")

    error = fail(simulator, lambda batches: batches.find_batch("mark", ["a", "b"]))
    later(simulator, HOUR_S + 1)

    assert (type(error), error.code, error.details["blame"]) == (TransientError, "batch_unknown", Blame.NONE)
    assert error.retry_after_s
    assert find(simulator, ["a", "b"]) == lost


def test_a_batch_at_work_of_another_size_cannot_be_it(simulator: Simulator) -> None:
    simulator.configure(anthropic={"batch_delay_s": HOUR_S})
    submit(simulator, "a", "b", "c")

    assert find(simulator, ["a", "b"]) is None


def test_a_found_batch_counts_more_than_one_that_could_be_it(simulator: Simulator) -> None:
    lost = submit(simulator, "a", "b")
    simulator.configure(anthropic={"batch_delay_s": HOUR_S})
    submit(simulator, "x", "y")

    assert find(simulator, ["a", "b"]) == lost


def test_every_page_of_the_list_is_looked_through(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anthropic_batches, "PAGE_SIZE", 2)
    lost = submit(simulator, "a")
    for _ in range(4):
        submit(simulator, "b", "c")

    assert find(simulator, ["a"]) == lost


def test_a_list_too_long_to_look_through_makes_the_caller_wait(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anthropic_batches, "MOST_LISTED", 1)
    submit(simulator, "a")
    submit(simulator, "b", "c")

    assert fail(simulator, lambda batches: batches.find_batch("mark", ["a"])).code == "batch_unknown"


def test_a_list_that_cannot_be_had_is_no_proof_that_there_is_none(simulator: Simulator) -> None:
    simulator.fault(ROUTE, method="GET", status=500, times=None)

    assert isinstance(fail(simulator, lambda batches: batches.find_batch("mark", ["a"])), TransientError)
