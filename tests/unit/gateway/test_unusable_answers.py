"""Answers that cannot be used: asked for again with the complaint, briefer, or of another model; each is paid."""

from __future__ import annotations

import pytest

from app.errors import LogicalError, PersistentError, TransientError
from app.gateway.model import ChatAnswer
from tests.unit.gateway.world import SCHEMA, World, broken, said


def test_an_unusable_answer_is_asked_for_again_with_the_complaint() -> None:
    world = World('{"n": "one"}', '{"n": 1}')

    answer = world.ask(config={"response_schema": SCHEMA})

    assert (answer.output, answer.requests) == ({"n": 1}, 2)
    assert world.statuses == ["rejected", "answered"]
    repair = world.openai.requests[1].messages
    assert repair[-2] == {"role": "assistant", "content": '{"n": "one"}'}
    assert "$.n" in repair[-1]["content"]
    assert answer.cost_usd == world.ledger.spent_usd


def test_three_unusable_answers_are_enough_and_a_retry_of_the_step_buys_no_fourth() -> None:
    world = World("nonsense")

    first = world.fail(LogicalError, config={"response_schema": SCHEMA})
    world.ledger = world.ledger.retry()
    second = world.fail(LogicalError, config={"response_schema": SCHEMA})

    assert first.details["final"]
    assert second.details["final"]
    assert len(world.asked) == 3
    assert world.statuses == ["rejected"] * 3


def test_a_step_retried_in_the_middle_of_its_repairs_goes_on_where_it_was() -> None:
    world = World("nonsense", broken(), '{"n": 2}')
    world.fail(TransientError, config={"response_schema": SCHEMA})
    world.ledger = world.ledger.retry()

    answer = world.ask(config={"response_schema": SCHEMA})

    assert answer.output == {"n": 2}
    assert len(world.openai.requests[-1].messages) == 3
    assert answer.requests == 2


@pytest.mark.parametrize("text", ["", "  \n"])
def test_an_empty_answer_is_unusable(text: str) -> None:
    world = World(text, "there")

    assert world.ask().output == "there"
    assert world.statuses == ["rejected", "answered"]


def test_an_answer_cut_off_is_asked_to_be_briefer() -> None:
    world = World(said('{"n": ', "length"), '{"n": 3}')

    assert world.ask(config={"response_schema": SCHEMA}).output == {"n": 3}
    assert "briefer" in world.openai.requests[1].messages[-1]["content"]


def test_a_text_cut_off_at_its_limit_is_still_an_answer() -> None:
    world = World(said("half a", "length"))

    answer = world.ask()

    assert (answer.output, answer.finish_reason) == ("half a", "length")


@pytest.mark.parametrize("refusal", [said(refusal="I cannot"), said(reason="content_filter")])
def test_a_model_that_refuses_is_paid_and_another_is_asked(refusal: ChatAnswer) -> None:
    world = World(refusal, "I can")

    answer = world.ask()

    assert (answer.model, answer.output) == ("weak", "I can")
    assert world.statuses == ["rejected", "answered"]
    assert world.ledger.spent_usd == answer.cost_usd


def test_when_all_refuse_the_first_refusal_is_what_is_told() -> None:
    world = World(said(refusal="not this"), said(refusal="nor this"))

    error = world.fail(PersistentError)

    assert "not this" in str(error)
    assert error.code == "refused"
