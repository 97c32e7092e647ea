"""The gateway between a scripted vendor, a ledger in memory and a breaker: who is asked, and what is paid."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.errors import FatalError, PersistentError, ResourceError, StepError, StepParked, TransientError
from app.gateway.fakes import FakeLedger, LocalGate, ScriptedProvider
from app.gateway.model import ChatAnswer, ChatRequest, ModelCall, Usage
from app.gateway.ports import Admission, OnText, Passage
from app.gateway.service import Gateway
from tests.unit.gateway.world import TODAY, World, broken, registry


def test_an_answer_is_written_before_it_is_given() -> None:
    world = World("hi")

    answer = world.ask()

    assert (answer.output, answer.model, answer.vendor_model) == ("hi", "strong", "s1")
    assert world.statuses == ["answered"]
    assert answer.cost_usd == world.ledger.rows[0].cost_usd == Decimal("0.000020")


def test_the_call_is_in_the_ledger_before_the_vendor_sees_it() -> None:
    world = World()
    seen: list[list[str]] = []
    world.openai.before = lambda _request: seen.append(list(world.statuses))

    world.ask()

    assert seen == [["sent"]]


def test_the_task_s_config_wins_over_the_model_s_defaults() -> None:
    world = World()

    world.ask(config={"temperature": 0, "max_tokens": 7, "addons": ["ignored"]})

    assert world.openai.requests[0].temperature == 0.0
    assert world.openai.requests[0].max_tokens == 7


CLOCK = {"name": "clock", "description": "The time", "input_schema": {"type": "object", "properties": {}}}


@pytest.mark.parametrize(
    ("tools", "said", "complaint"),
    [
        ((CLOCK,), {"text": "", "finish_reason": "tool_calls"}, "its call cannot be read"),
        ((CLOCK,), {"text": "Let me look.", "finish_reason": "tool_calls"}, "its call cannot be read"),
        ((), {"text": "", "finish_reason": "tool_calls"}, "its call cannot be read"),
        (
            (),
            {"text": "", "finish_reason": "tool_calls", "tool_calls": ({"id": "1", "name": "clock", "input": {}},)},
            "there are none",
        ),
        ((CLOCK,), {"text": " ", "finish_reason": "stop"}, "it is empty"),
    ],
    ids=["no call", "words and no call", "no tools and no call", "no tools", "nothing"],
)
def test_an_answer_that_is_none_is_asked_for_again_and_told_why(
    tools: tuple[Any, ...], said: dict[str, Any], complaint: str
) -> None:
    world = World(ChatAnswer(**{"model": "s1", "vendor_id": "v", "usage": Usage(output_tokens=5), **said}), "noon")

    assert world.ask(tools=tools).text == "noon"

    assert world.statuses == ["rejected", "answered"]
    assert complaint in world.openai.requests[1].messages[-1]["content"]


@pytest.mark.parametrize(
    ("error", "settled"),
    [
        (broken(), [0]),
        (broken(PersistentError, "none", code="http_400"), [0]),
        (broken(sent=True), []),
    ],
    ids=["never reached", "refused", "may be charged"],
)
def test_tokens_of_a_request_that_used_none_are_free_for_others(error: StepError, settled: list[int]) -> None:
    world = World(error)

    world.fail(StepError, "weak")

    assert world.gate.settled == settled


def test_a_request_that_cannot_be_sent_says_nothing_of_the_vendor() -> None:
    world = World(broken(PersistentError, "unsent", code="bad_image"))
    world.gate.failures["openai", "w1"] = 4

    world.fail(PersistentError, "weak")

    assert world.gate.failures == {("openai", "w1"): 4}
    assert (world.gate.withdrawn, world.gate.settled, world.statuses) == (1, [], ["failed"])


def test_who_is_asked_to_wait_for_long_goes_to_another_model_first() -> None:
    world = World(broken(retry_after_s=1800), "from the fallback")

    assert world.ask().model == "weak"
    assert world.asked == ["s1", "w1"]


@pytest.mark.parametrize("wait_s", [100, 1800])
def test_where_there_is_no_other_the_wait_is_the_engine_s(wait_s: float) -> None:
    error = World(broken(retry_after_s=wait_s)).fail(TransientError, "weak")

    assert error.retry_after_s == wait_s


def test_words_are_an_answer_whatever_their_ending_is_called() -> None:
    world = World(ChatAnswer("noon", "tool_calls", "s1", "v", Usage(output_tokens=5)))

    assert world.ask().text == "noon"


def test_system_history_and_images_reach_the_vendor_in_order() -> None:
    world = World()

    world.ask(
        system=("be kind",),
        history=({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}),
        images=("data:image/png;base64,AA",),
    )

    assert [message["role"] for message in world.openai.requests[0].messages] == ["system", "user", "assistant", "user"]
    assert world.openai.requests[0].messages[-1]["content"][1] == {"type": "image", "url": "data:image/png;base64,AA"}


@pytest.mark.parametrize(
    "config",
    [
        {"temperature": 3},
        {"temperature": "hot"},
        {"top_p": True},
        {"max_tokens": 0},
        {"max_tokens": 1.5},
        {"response_schema": 5},
    ],
)
def test_a_config_nobody_can_use_is_fatal_and_costs_nothing(config: dict[str, Any]) -> None:
    world = World()

    error = world.fail(FatalError, config=config)

    assert error.code == "config_invalid"
    assert next(iter(config)) in str(error)
    assert world.ledger.rows == []


def test_a_model_nobody_serves_is_not_configured_and_names_the_variable() -> None:
    gateway = Gateway(registry(), {}, gate=LocalGate(), today=lambda: TODAY)

    with pytest.raises(PersistentError, match="OPENAI_API_KEY") as caught:
        asyncio.run(gateway.complete(ModelCall("weak", "x"), FakeLedger()))

    assert caught.value.code == "not_configured"
    assert caught.value.details["final"]


@pytest.mark.parametrize("model", ["film", "gone"])
def test_a_film_or_a_retired_model_is_not_asked_for_text(model: str) -> None:
    world = World()

    assert world.fail(PersistentError, model).code == "not_configured"
    assert world.asked == []


def test_an_error_that_may_pass_is_left_to_the_engine_after_one_request() -> None:
    world = World(broken())

    world.fail(TransientError)

    assert world.asked == ["s1"]
    assert world.statuses == ["failed"]


@pytest.mark.parametrize(("sent", "status"), [(True, "unknown"), (False, "failed")])
def test_what_the_vendor_may_charge_for_stays_counted_at_its_estimate(*, sent: bool, status: str) -> None:
    world = World(broken(ResourceError, sent=sent))

    world.fail(ResourceError)

    assert world.statuses == [status]
    assert (world.ledger.spent_usd > 0) == sent


def test_a_refused_request_goes_to_the_next_model_and_says_which_answered() -> None:
    world = World(broken(PersistentError, "none"), "from the weak one")

    answer = world.ask()

    assert world.asked == ["s1", "w1"]
    assert (answer.model, answer.output) == ("weak", "from the weak one")
    assert world.statuses == ["failed", "answered"]


def test_a_refused_key_is_shown_once_and_the_next_provider_serves() -> None:
    world = World(broken(PersistentError, "provider", code="auth"), other=["from the other"])

    answer = world.ask()

    assert world.asked == ["s1"]
    assert answer.provider == "other"


def test_with_one_provider_a_refused_key_is_shown_once_for_the_whole_call() -> None:
    world = World(broken(PersistentError, "provider", code="auth"))

    error = world.fail(PersistentError)

    assert world.asked == ["s1"]
    assert error.code == "auth"


def test_a_retired_model_is_not_asked_again_by_later_calls() -> None:
    world = World(broken(PersistentError, "retired"), "weak one")

    assert world.ask().model == "weak"
    assert world.ask().model == "weak"
    assert world.asked == ["s1", "w1", "w1"]


def test_the_failure_that_opens_the_breaker_goes_on_to_the_next_model_at_once() -> None:
    world = World(*[broken() for _ in range(5)], "weak one")

    for _ in range(4):
        world.fail(TransientError)

    assert world.ask().output == "weak one"
    assert world.asked == ["s1"] * 5 + ["w1"]


def test_an_open_breaker_parks_the_step_when_no_other_model_is_left() -> None:
    world = World(*[broken() for _ in range(9)])
    for _ in range(4):
        world.fail(TransientError, "weak")
    world.fail(TransientError, "weak")

    parked = world.fail(StepParked, "weak")

    assert (parked.reason, parked.delay_s) == ("breaker", 60.0)
    assert len(world.asked) == 5


def test_a_success_between_failures_starts_the_count_anew() -> None:
    world = World(*[broken() for _ in range(4)], "ok", *[broken() for _ in range(4)], "ok again")

    for _ in range(4):
        world.fail(TransientError, "weak")
    world.ask("weak")
    for _ in range(4):
        world.fail(TransientError, "weak")

    assert world.ask("weak").output == "ok again"


def test_a_long_wait_for_the_rate_parks_the_step_before_money_is_set_aside() -> None:
    world = World()
    world.gate.waits = [40.0]

    parked = world.fail(StepParked)

    # A little early: parked steps are looked at every two seconds.
    assert (parked.reason, parked.delay_s) == ("rate", 38.0)
    assert world.ledger.rows == []


def test_a_short_wait_for_the_rate_is_slept_through_and_the_question_keeps_its_ticket() -> None:
    world = World()
    world.gate.waits = [0.01, 0.01]

    assert world.ask().output == "ok"
    assert {passage.ticket for passage in world.gate.entered} == {world.ledger.ticket}
    assert len(world.gate.entered) == 3


def test_the_gate_learns_how_many_tokens_were_used() -> None:
    world = World()

    world.ask(prompt="x" * 400)

    assert 200 <= world.gate.entered[0].tokens <= 230  # a quarter of the characters, and the answer's limit of 100
    assert world.gate.settled == [15]


def test_a_spent_budget_parks_the_step_before_anything_is_sent() -> None:
    world = World()
    world.ledger.budget_usd = Decimal("0.000001")

    assert world.fail(StepParked).reason == "budget"
    assert world.asked == []


def test_a_probe_that_has_no_money_is_given_back() -> None:
    class Probing(LocalGate):
        async def enter(self, passage: Passage) -> Admission:
            return Admission(allowed=True, probe=True)

    world = World()
    probing = Probing()
    world.ledger.budget_usd = Decimal(0)
    world.gateway = Gateway(registry(), {"openai": world.openai}, gate=probing, today=lambda: TODAY)

    world.fail(StepParked)

    assert probing.withdrawn == 1


def test_an_answer_of_an_earlier_try_is_used_and_not_bought_again() -> None:
    world = World("first")
    world.ask()
    world.ledger = world.ledger.retry()

    answer = world.ask()

    assert answer.output == "first"
    assert len(world.asked) == 1
    assert answer.cost_usd == Decimal("0.000020")


def test_a_paid_answer_is_used_although_the_breaker_is_open() -> None:
    world = World("first")
    world.ask()
    world.gate.reasons["openai", ""] = "quota"
    world.ledger = world.ledger.retry()

    assert world.ask().output == "first"


def test_after_a_crash_the_unanswered_call_counts_and_a_new_one_is_made() -> None:
    world = World(KeyboardInterrupt(), "second")
    with pytest.raises(KeyboardInterrupt):
        world.ask()
    world.ledger = world.ledger.retry()

    assert world.ask().output == "second"
    assert world.statuses == ["unknown", "answered"]


def test_the_stored_request_is_sent_in_place_of_one_rendered_anew() -> None:
    class Frozen(FakeLedger):
        async def reserve(self, *args: Any) -> Any:
            reserved = await super().reserve(*args)
            stored = {**reserved.request, "messages": [{"role": "user", "content": "as it was"}]}
            return type(reserved)(reserved.ordinal, stored)

    world = World()
    world.ledger = Frozen()

    world.ask(prompt="as it is now")

    assert world.openai.requests[0].messages == ({"role": "user", "content": "as it was"},)


def test_a_stored_request_goes_to_the_model_and_with_the_parameters_of_today() -> None:
    class Frozen(FakeLedger):
        async def reserve(self, *args: Any) -> Any:
            reserved = await super().reserve(*args)
            was = {"model": "retired", "extra": {"effort": "refused"}, "max_tokens": 9000, "temperature": 0.1}
            return type(reserved)(reserved.ordinal, {**reserved.request, **was})

    world = World()
    world.ledger = Frozen()

    world.ask("weak")

    sent = world.openai.requests[0]
    assert (sent.model, sent.extra, sent.max_tokens, sent.temperature) == ("w1", {}, 50, None)


def test_a_call_that_is_cancelled_leaves_no_open_row() -> None:
    world = World()

    class Hanging(ScriptedProvider):
        async def complete(self, request: ChatRequest, on_text: OnText | None = None) -> ChatAnswer:
            del request, on_text
            await asyncio.sleep(60)
            raise AssertionError

    world.gateway = Gateway(registry(), {"openai": Hanging()}, gate=world.gate, today=lambda: TODAY)

    async def run() -> None:
        async with asyncio.timeout(0.02):
            await world.gateway.complete(ModelCall("weak", "x"), world.ledger)

    with pytest.raises(TimeoutError):
        asyncio.run(run())

    assert world.statuses == ["unknown"]


def test_braces_in_a_prompt_are_nobody_s_business_here() -> None:
    world = World()

    world.ask(prompt="{OPENAI_API_KEY} {names}")

    assert world.openai.requests[0].messages[-1]["content"] == "{OPENAI_API_KEY} {names}"


def test_pieces_come_as_they_are_said_and_are_void_when_another_try_begins() -> None:
    world = World("no JSON", '{"n": 1}')
    heard: list[str | None] = []
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    call = ModelCall("weak", "x", config={"response_schema": schema})
    answer = asyncio.run(world.gateway.complete(call, world.ledger, heard.append))
    assert answer.data == {"n": 1}
    assert heard == ["no JSON", None, '{"n": 1}']


def test_an_answer_found_in_the_ledger_comes_in_one_piece() -> None:
    world = World("hello")
    asyncio.run(world.gateway.complete(ModelCall("weak", "x"), world.ledger))
    heard: list[str | None] = []
    asyncio.run(world.gateway.complete(ModelCall("weak", "x"), world.ledger.retry(), heard.append))
    assert heard == ["hello"]
