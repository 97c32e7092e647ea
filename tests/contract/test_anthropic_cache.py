"""Anthropic's cache of prompts: what is marked, written and read."""

from __future__ import annotations

from simulator import Simulator
from tests.contract.anthropic_asking import ask, send, system
from tests.contract.test_chat_providers import ANTHROPIC as WIRE
from tests.contract.test_chat_providers import both_ways, listener

LONG = "a word " * 1000


def test_a_marked_prefix_is_written_once_and_then_read(simulator: Simulator) -> None:
    request = ask(system((LONG, "1h"), ("who asks", None)))

    first, second = send(simulator, request).usage, send(simulator, request).usage

    assert (first.cache_write_1h_tokens, first.cache_write_5m_tokens, first.cache_read_tokens) == (1750, 0, 0)
    assert (second.cache_write_1h_tokens, second.cache_read_tokens) == (0, 1750)
    assert first.input_tokens == second.input_tokens > 0
    assert first.prompt_tokens == second.prompt_tokens


@both_ways
def test_writes_for_five_minutes_and_for_an_hour_are_told_apart(simulator: Simulator, *, streamed: bool) -> None:
    request = ask(system((LONG, "1h"), (LONG, "5m")))

    usage = send(simulator, request, listener(streamed=streamed)).usage

    assert (usage.cache_write_1h_tokens, usage.cache_write_5m_tokens) == (1750, 1750)


def test_a_mark_within_the_conversation_counts_too(simulator: Simulator) -> None:
    said = {"role": "user", "content": [{"type": "text", "text": LONG, "cache": "5m"}]}
    answered = {"role": "assistant", "content": "yes"}

    assert send(simulator, ask(said, answered)).usage.cache_write_5m_tokens == 1750
    assert send(simulator, ask(said, answered)).usage.cache_read_tokens == 1750


def test_of_too_many_marks_the_first_and_the_furthest_stay(simulator: Simulator) -> None:
    send(simulator, ask(system(*((f"part {number}", "1h") for number in range(6)))))

    marked = [block["text"] for block in WIRE.bodies(simulator)[0]["system"] if "cache_control" in block]
    assert marked == ["part 0", "part 3", "part 4", "part 5"]


def test_an_hour_s_mark_behind_one_for_five_minutes_gives_way(simulator: Simulator) -> None:
    send(simulator, ask(system(("a", "1h"), ("b", "5m"), ("c", "1h"))))

    lives = [block["cache_control"]["ttl"] for block in WIRE.bodies(simulator)[0]["system"]]
    assert lives == ["1h", "5m", "5m"]
