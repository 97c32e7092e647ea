"""What opens when, what sees what, what is skipped: one hand, one thing after the other."""

from __future__ import annotations

from typing import Any

import pytest

from app.errors import FatalError
from tests.engine.desk import Desk
from tests.engine.documents import graph, inline, linear, tool

BOOM = RuntimeError("boom")


def test_the_next_block_opens_when_the_last_step_of_one_ends(desk: Desk) -> None:
    hand = desk.hand()
    run_id = desk.submit([linear(tool("mark", "a"), tool("mark", "b")), linear(tool("mark", "c"))])
    hand.perform(run_id, "a")
    assert desk.statuses(run_id)["c"] == "pending"
    hand.perform(run_id, "b")
    assert desk.statuses(run_id)["c"] == "ready"
    hand.perform(run_id, "c")
    assert desk.status(run_id) == "completed"
    desk.check(run_id)


def test_a_failed_step_stops_neither_its_block_nor_its_run(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"), tool("mark", "b")), inline(tool("mark", "c"))])
    desk.play(desk.hand(), {"a": BOOM})
    assert desk.statuses(run_id) == {"a": "failed", "b": "completed", "c": "completed"}
    assert desk.status(run_id) == "partial"
    desk.check(run_id)


def test_a_run_whose_every_step_failed_is_failed(desk: Desk) -> None:
    run_id = desk.submit([linear(tool("mark", "a"), tool("mark", "b"))])
    desk.play(desk.hand(), {"a": BOOM, "b": BOOM})
    assert desk.status(run_id) == "failed"


def test_what_reads_a_failed_steps_variable_is_skipped_and_so_is_what_reads_that(desk: Desk) -> None:
    run_id = desk.submit(
        [
            linear(tool("mark", "a", output_variable_="va")),
            linear(tool("mark", "b", value="{va}", output_variable_="vb"), tool("mark", "free")),
            linear(tool("mark", "c", value="{vb.deep}")),
        ]
    )
    desk.play(desk.hand(), {"a": BOOM})
    assert desk.statuses(run_id) == {"a": "failed", "b": "skipped", "free": "completed", "c": "skipped"}
    reasons = {step.key: step.reason for step in desk.view(run_id).steps}
    assert reasons["b"] == "needs va"
    assert reasons["c"] == "needs vb"
    desk.check(run_id)


def test_a_failed_step_hides_the_documents_variable_of_its_name(desk: Desk) -> None:
    run_id = desk.submit(
        [inline(tool("mark", "a", output_variable_="v")), inline(tool("mark", "b", value="{v}"))],
        {"v": "the document's"},
    )
    desk.play(desk.hand(), {"a": BOOM})
    assert desk.statuses(run_id)["b"] == "skipped"


def test_when_skips_and_the_output_counts_as_null(desk: Desk) -> None:
    run_id = desk.submit(
        [
            inline(tool("mark", "a", output_variable_="v", when_={"var": "go", "op": "==", "value": True})),
            inline(tool("mark", "b", value="{v}")),
        ],
        {"go": False},
    )
    hand = desk.hand()
    skipped = hand.must_claim(run_id, "a")
    hand.do(hand.decide(skipped) or {})
    assert hand.must_claim(run_id, "b").values == {"v": None}
    assert desk.statuses(run_id)["a"] == "skipped"


def test_a_run_whose_every_step_is_skipped_by_when_is_completed(desk: Desk) -> None:
    never = {"var": "go", "op": "==", "value": True}
    blocks = [linear(tool("mark", f"{n}a", when_=never), tool("mark", f"{n}b", when_=never)) for n in range(3)]
    run_id = desk.submit(blocks, {"go": False})
    desk.play(desk.hand())
    assert set(desk.statuses(run_id).values()) == {"skipped"}
    assert desk.status(run_id) == "completed"
    desk.check(run_id)


def test_what_is_later_in_the_document_wins(desk: Desk) -> None:
    run_id = desk.submit(
        [
            inline(tool("mark", "a", output_variable_="v"), tool("mark", "b", output_variable_="v")),
            inline(
                tool("mark", "c", value="{v}"), tool("mark", "d", output_variable_="v"), tool("mark", "e", value="{v}")
            ),
        ],
        {"v": 0},
    )
    hand = desk.hand()
    seen: dict[str, Any] = {}
    for key in "abcde":
        step = hand.must_claim(run_id, key)
        seen[key] = step.values.get("v")
        hand.finish(step, key.upper())
    assert (seen["c"], seen["e"]) == ("B", "D")
    assert desk.view(run_id).variables["v"] == "D"


def test_a_step_of_a_linear_block_does_not_see_its_siblings(desk: Desk) -> None:
    run_id = desk.submit(
        [linear(tool("mark", "a", output_variable_="v"), tool("mark", "b", value="{v}"))], {"v": "old"}
    )
    hand = desk.hand()
    hand.perform(run_id, "a", "new")
    assert hand.must_claim(run_id, "b").values == {"v": "old"}


def test_a_step_of_a_graph_sees_its_ancestors_and_nobody_else(desk: Desk) -> None:
    run_id = desk.submit(
        [
            graph(
                tool("mark", "a", output_variable_="va"),
                tool("mark", "b", output_variable_="vb", depends_on_=["a"]),
                tool("mark", "c", value=["{va}", "{vb}", "{vx}"], depends_on_=["b"]),
                tool("mark", "x", output_variable_="vx"),
            )
        ],
        {"vx": "the document's"},
    )
    hand = desk.hand()
    for key in ("x", "a", "b"):
        hand.perform(run_id, key, key)
    assert hand.must_claim(run_id, "c").values == {"va": "a", "vb": "b", "vx": "the document's"}


def test_of_two_ancestors_that_set_one_name_the_later_in_the_document_wins_whoever_ends_last(desk: Desk) -> None:
    run_id = desk.submit(
        [
            graph(
                tool("mark", "a", output_variable_="v"),
                tool("mark", "b", output_variable_="v", depends_on_=["a"]),
                tool("mark", "c", depends_on_=["a"]),
                tool("mark", "d", value="{v}", depends_on_=["b", "c"]),
            )
        ]
    )
    hand = desk.hand()
    for key in ("a", "b", "c"):
        hand.perform(run_id, key, key)
    assert hand.must_claim(run_id, "d").values == {"v": "b"}


def test_what_depends_on_a_failed_step_of_a_graph_is_skipped_to_the_end(desk: Desk) -> None:
    run_id = desk.submit(
        [
            graph(
                tool("mark", "a"),
                tool("mark", "b", depends_on_=["a"]),
                tool("mark", "c", depends_on_=["b"]),
                tool("mark", "free"),
            ),
            inline(tool("mark", "after")),
        ]
    )
    desk.play(desk.hand(), {"a": BOOM})
    assert desk.statuses(run_id) == {
        "a": "failed",
        "b": "skipped",
        "c": "skipped",
        "free": "completed",
        "after": "completed",
    }
    desk.check(run_id)


def test_a_dependency_that_was_skipped_by_its_when_is_no_hindrance(desk: Desk) -> None:
    never = {"var": "go", "op": "==", "value": True}
    run_id = desk.submit([graph(tool("mark", "a", when_=never), tool("mark", "b", depends_on_=["a"]))], {"go": False})
    desk.play(desk.hand())
    assert desk.statuses(run_id) == {"a": "skipped", "b": "completed"}


def test_for_each_gives_its_outputs_in_item_order_and_null_where_one_failed(desk: Desk) -> None:
    run_id = desk.submit(
        [linear(tool("mark", "each", value="{item}{index}", for_each_="{list}", output_variable_="all"))],
        {"list": ["a", "b", "c"]},
    )
    hand = desk.hand()
    step = hand.must_claim(run_id, "each")
    hand.do(hand.decide(step) or {})
    items = {key: hand.must_claim(run_id, key) for key in ("each.2", "each.0", "each.1")}
    assert {key: item.values for key, item in items.items()} == {
        f"each.{n}": {"item": letter, "index": n} for n, letter in enumerate("abc")
    }
    hand.finish(items["each.2"], "C")
    hand.fail(items["each.1"])
    desk.check(run_id)
    hand.finish(items["each.0"], "A")
    assert desk.view(run_id).variables["all"] == ["A", None, "C"]
    assert desk.status(run_id) == "partial"
    desk.check(run_id)


@pytest.mark.parametrize("block", [inline, linear, graph])
def test_for_each_over_nothing_gives_an_empty_list_and_the_run_goes_on(desk: Desk, block: Any) -> None:
    run_id = desk.submit(
        [
            block(tool("mark", "each", for_each_="{list}", output_variable_="all")),
            inline(tool("mark", "next", value="{all}")),
        ],
        {"list": []},
    )
    desk.play(desk.hand())
    assert desk.view(run_id).variables["all"] == []
    assert desk.status(run_id) == "completed"
    desk.check(run_id)


def test_a_run_with_nothing_but_empty_for_eaches_ends(desk: Desk) -> None:
    run_id = desk.submit([linear(tool("mark", f"e{n}", for_each_="{list}")) for n in range(3)], {"list": []})
    desk.play(desk.hand())
    assert desk.status(run_id) == "completed"
    desk.check(run_id)


def test_for_each_takes_a_thousand_items(desk: Desk) -> None:
    run_id = desk.submit(
        [linear(tool("mark", "each", for_each_="{list}", output_variable_="all"))], {"list": list(range(1000))}
    )
    desk.play(desk.hand())
    assert desk.view(run_id).variables["all"] == [f"each.{n}" for n in range(1000)]
    assert desk.status(run_id) == "completed"
    desk.check(run_id)


def test_for_each_over_a_thousand_and_one_items_fails_its_step_and_not_the_paid_one_before_it(desk: Desk) -> None:
    run_id = desk.submit(
        [
            inline(tool("mark", "paid", output_variable_="list")),
            linear(tool("mark", "each", for_each_="{list}"), tool("mark", "other")),
        ]
    )
    hand = desk.hand()
    hand.perform(run_id, "paid", list(range(1001)))
    step = hand.must_claim(run_id, "each")
    with pytest.raises(FatalError, match="1001 items"):
        hand.decide(step)
    hand.fail(step, "for_each_too_long")
    hand.perform(run_id, "other")
    assert desk.statuses(run_id) == {"paid": "completed", "each": "failed", "other": "completed"}
    assert desk.status(run_id) == "partial"
    desk.check(run_id)


def test_items_keep_to_the_blocks_ceiling(desk: Desk) -> None:
    run_id = desk.submit(
        [linear(tool("mark", "each", for_each_="{list}"), max_concurrency=2)], {"list": list(range(5))}
    )
    hand = desk.hand()
    step = hand.must_claim(run_id, "each")
    desk.take_messages(hand)
    hand.do(hand.decide(step) or {})
    assert [send.key for send in desk.take_messages(hand)] == ["each.0", "each.1"]
    hand.perform(run_id, "each.1")
    assert [send.key for send in desk.take_messages(hand)] == ["each.2"]
    assert hand.claim(run_id, "each.4") is None  # by a message of long ago
    desk.check(run_id)


def test_items_of_an_inline_block_go_one_by_one(desk: Desk) -> None:
    run_id = desk.submit(
        [inline(tool("mark", "each", for_each_="{list}"), tool("mark", "after"))], {"list": ["a", "b"]}
    )
    hand = desk.hand()
    hand.do(hand.decide(hand.must_claim(run_id, "each")) or {})
    assert hand.claim(run_id, "each.1") is None
    hand.perform(run_id, "each.0")
    assert hand.claim(run_id, "after") is None
    hand.perform(run_id, "each.1")
    hand.perform(run_id, "after")
    assert desk.status(run_id) == "completed"
    desk.check(run_id)


def test_a_when_that_asks_for_the_item_picks_items(desk: Desk) -> None:
    run_id = desk.submit(
        [
            linear(
                tool(
                    "mark",
                    "each",
                    for_each_="{list}",
                    when_={"var": "item", "op": ">", "value": 1},
                    output_variable_="all",
                )
            )
        ],
        {"list": [1, 2, 3]},
    )
    desk.play(desk.hand())
    assert desk.view(run_id).variables["all"] == [None, "each.1", "each.2"]
    assert desk.status(run_id) == "completed"


def test_a_window_of_two_hundred_is_refilled_by_finishes(desk: Desk) -> None:
    run_id = desk.submit([linear(*(tool("mark", f"s{n}") for n in range(250)))])
    hand = desk.hand()
    assert len(desk.take_messages()) == 200
    hand.perform(run_id, "s7")
    assert [send.key for send in desk.take_messages(hand)] == ["s200"]
    desk.play(hand)
    desk.check(run_id)


def test_an_inline_message_carries_at_most_nineteen_followers_and_a_linear_one_none(desk: Desk) -> None:
    desk.submit([inline(*(tool("mark", f"s{n}") for n in range(30)))])
    [first] = desk.take_messages()
    assert [key for key, _ in first.tail] == [f"s{n}" for n in range(1, 20)]
    desk.submit([linear(tool("mark", "a"), tool("mark", "b"))])
    assert [send.tail for send in desk.take_messages()] == [(), ()]


def test_the_chains_next_step_gets_no_message_of_its_own(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"), tool("mark", "b"))])
    hand = desk.hand()
    desk.take_messages()
    answer = hand.finish(hand.must_claim(run_id, "a"), chained="b")
    assert answer["chained"] is True
    assert hand.messages == []


def test_a_chain_whose_next_step_is_not_the_journals_is_told_to_end(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"), tool("mark", "b"))])
    hand = desk.hand()
    desk.command(run_id, "pause")
    assert hand.claim(run_id, "a") is None
    desk.command(run_id, "resume")
    step = hand.must_claim(run_id, "a")
    desk.command(run_id, "pause")
    assert hand.finish(step, chained="b")["chained"] is False
