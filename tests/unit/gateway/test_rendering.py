"""How a call is written for a vendor: what its cache can keep stands first, and is marked where it must be."""

from __future__ import annotations

from typing import Any

from app.gateway.model import ModelCall
from app.gateway.prices import Prices, Rates
from app.gateway.registry import LogicalModel, Offer, Target
from app.gateway.rendering import MOST_MARKS, render_request


def messages(call: ModelCall, *, marks: bool) -> list[Any]:
    offer = Offer("anthropic", "m", Prices(Rates()), 1000, cache_marks=marks)
    return list(render_request(call, Target(LogicalModel("x", "chat", "", (offer,)), offer)).messages)


def marks_of(written: list[Any]) -> list[tuple[str, str]]:
    return [
        (part["text"], part["cache"])
        for message in written
        if not isinstance(message["content"], str)
        for part in message["content"]
        if "cache" in part
    ]


def test_without_marks_the_system_s_parts_are_one_text_before_all_that_changes() -> None:
    written = messages(ModelCall("x", "hi", system=("brand", "style")), marks=False)

    assert written == [{"role": "system", "content": "brand\n\nstyle"}, {"role": "user", "content": "hi"}]


def test_each_part_of_the_system_ends_a_prefix_that_is_kept_for_an_hour() -> None:
    written = messages(ModelCall("x", "hi", system=("brand", "style")), marks=True)

    assert marks_of(written) == [("brand", "1h"), ("style", "1h")]
    assert written[-1] == {"role": "user", "content": "hi"}


def test_a_conversation_is_kept_up_to_its_last_message() -> None:
    history = ({"role": "user", "content": "a"}, {"role": "assistant", "content": "b"})

    written = messages(ModelCall("x", "c", system=("s",), history=history), marks=True)

    assert marks_of(written) == [("s", "1h"), ("b", "5m")]
    assert history[1] == {"role": "assistant", "content": "b"}  # the caller's own is left alone


def test_no_more_is_marked_than_a_vendor_takes() -> None:
    system = tuple(f"part {n}" for n in range(9))

    alone = marks_of(messages(ModelCall("x", "c", system=system), marks=True))
    among = marks_of(
        messages(ModelCall("x", "c", system=system, history=({"role": "user", "content": "a"},)), marks=True)
    )

    assert [text for text, _ in alone] == ["part 0", "part 1", "part 2", "part 8"]
    assert [text for text, _ in among] == ["part 0", "part 1", "part 8", "a"]
    assert len(alone) == len(among) == MOST_MARKS


def test_a_tool_s_result_is_answered_without_an_empty_question_behind_it() -> None:
    history = (
        {"role": "user", "content": "what time is it?"},
        {"role": "assistant", "content": "", "tool_calls": [{"id": "1", "name": "clock", "input": {}}]},
        {"role": "tool", "tool_call_id": "1", "content": "noon"},
    )

    written = messages(ModelCall("x", "", history=history), marks=True)

    assert [message["role"] for message in written] == ["user", "assistant", "tool"]
    assert marks_of(written) == [("noon", "5m")]


def test_a_message_that_only_calls_tools_cannot_be_marked() -> None:
    history = ({"role": "assistant", "content": "", "tool_calls": [{"id": "1", "name": "clock", "input": {}}]},)

    assert marks_of(messages(ModelCall("x", "go on", history=history), marks=True)) == []
