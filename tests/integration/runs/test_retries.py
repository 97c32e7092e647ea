"""What a retry does again, what it keeps, and in which order."""

from __future__ import annotations

from tests.engine.desk import Desk
from tests.engine.documents import approval, graph, inline, linear, tool

BOOM = RuntimeError("boom")


def test_a_retry_begins_at_what_failed_and_keeps_what_completed(desk: Desk) -> None:
    run_id = desk.submit(
        [
            linear(tool("mark", "a", output_variable_="va"), tool("mark", "b", output_variable_="vb")),
            inline(tool("mark", "c", value="{va}{vb}"), tool("mark", "d")),
        ]
    )
    hand = desk.hand()
    desk.play(hand, {"a": "A", "b": BOOM})
    assert desk.statuses(run_id) == {"a": "completed", "b": "failed", "c": "skipped", "d": "completed"}
    assert desk.command(run_id, "retry") == "running"
    desk.check(run_id)
    assert [send.key for send in desk.messages] == ["b"]
    desk.play(hand, {"b": "B"})
    assert set(desk.statuses(run_id).values()) == {"completed"}
    assert desk.status(run_id) == "completed"
    attempts = {step.key: step.attempts for step in desk.view(run_id).steps}
    assert attempts == {"a": 1, "b": 2, "c": 2, "d": 1}
    desk.check(run_id)


def test_a_retry_does_only_the_items_that_did_not_complete(desk: Desk) -> None:
    picks = {"var": "item", "op": "!=", "value": "skip"}
    run_id = desk.submit(
        [
            linear(
                tool("mark", "each", for_each_=["a", "b", "skip"], output_variable_="all", when_=picks),
                tool("mark", "x"),
            ),
            inline(tool("mark", "after", value="{all}")),
        ]
    )
    hand = desk.hand()
    desk.play(hand, {"each.1": BOOM})
    assert desk.status(run_id) == "partial"
    assert desk.command(run_id, "retry") == "running"
    desk.check(run_id)
    assert [send.key for send in desk.messages] == ["each"]
    desk.play(hand)
    assert desk.view(run_id).variables["all"] == ["each.0", "each.1", None]
    assert desk.status(run_id) == "completed"
    attempts = {step.key: step.attempts for step in desk.view(run_id).steps}
    assert (attempts["each.0"], attempts["each.1"], attempts["each.2"], attempts["x"]) == (1, 2, 1, 1)
    desk.check(run_id)


def test_a_retry_of_another_step_leaves_a_for_each_alone_whose_items_were_only_skipped(desk: Desk) -> None:
    picks = {"var": "item", "op": "!=", "value": "skip"}
    run_id = desk.submit([linear(tool("mark", "each", for_each_=["a", "skip"], when_=picks), tool("mark", "x"))])
    hand = desk.hand()
    desk.play(hand, {"x": BOOM})
    desk.command(run_id, "retry")
    desk.play(hand)
    assert desk.status(run_id) == "completed"
    desk.check(run_id)


def test_a_retry_in_a_graph_does_what_failed_and_what_was_skipped_for_it(desk: Desk) -> None:
    run_id = desk.submit(
        [
            graph(
                tool("mark", "a"),
                tool("mark", "b", depends_on_=["a"]),
                tool("mark", "c", depends_on_=["b"]),
                tool("mark", "d", depends_on_=["a"]),
                tool("mark", "e", depends_on_=["c", "d"]),
            )
        ]
    )
    hand = desk.hand()
    desk.play(hand, {"b": BOOM})
    assert desk.statuses(run_id) == {
        "a": "completed", "b": "failed", "c": "skipped", "d": "completed", "e": "skipped",
    }  # fmt: skip
    desk.command(run_id, "retry")
    desk.check(run_id)
    desk.play(hand)
    assert desk.status(run_id) == "completed"
    attempts = {step.key: step.attempts for step in desk.view(run_id).steps}
    assert (attempts["a"], attempts["b"], attempts["d"]) == (1, 2, 1)
    desk.check(run_id)


def test_a_cancelled_run_can_be_retried_from_where_it_was(desk: Desk) -> None:
    run_id = desk.submit(
        [
            inline(tool("mark", "a"), tool("mark", "b")),
            linear(tool("mark", "each", for_each_=[1, 2, 3])),
            inline(tool("mark", "z")),
        ]
    )
    hand = desk.hand()
    for key in ("a", "b"):
        hand.perform(run_id, key)
    hand.do(hand.decide(hand.must_claim(run_id, "each")) or {})
    hand.perform(run_id, "each.0")
    running = hand.must_claim(run_id, "each.1")
    desk.cancel(run_id)
    hand.finish(running, status="cancelled", reason="run cancelled")
    assert desk.status(run_id) == "cancelled"
    desk.check(run_id)
    desk.take_messages(hand)
    assert desk.command(run_id, "retry") == "running"
    desk.check(run_id)
    assert [send.key for send in desk.messages] == ["each"]
    desk.play(hand)
    assert desk.status(run_id) == "completed"
    attempts = {step.key: step.attempts for step in desk.view(run_id).steps}
    assert (attempts["a"], attempts["each.0"], attempts["each.1"], attempts["each.2"]) == (1, 1, 2, 1)
    desk.check(run_id)


def test_a_retried_for_each_waits_for_what_it_comes_after_and_keeps_the_list_it_had(desk: Desk) -> None:
    run_id = desk.submit(
        [
            inline(
                tool("mark", "first", for_each_=[1, 2]),
                tool("mark", "each", value="{item}", for_each_="{list}", output_variable_="all"),
            )
        ],
        {"list": ["a", "b"]},
    )
    hand = desk.hand()
    desk.play(hand, {"first.1": BOOM, "each.0": BOOM})
    desk.command(run_id, "retry")
    assert [send.key for send in desk.messages] == ["first"]
    assert desk.statuses(run_id)["each.0"] == "pending"
    desk.check(run_id)
    desk.write('update run_inputs set variables = \'{"list": ["changed"]}\'')
    desk.play(hand)
    assert desk.view(run_id).variables["all"] == ["each.0", "each.1"]
    assert desk.status(run_id) == "completed"
    desk.check(run_id)


def test_a_retried_step_waits_for_those_before_it_that_come_again_though_one_between_them_stays(desk: Desk) -> None:
    first = {"output_variable_": "v", "for_each_": [1, 2]}
    for blocks in (
        [inline(tool("mark", "a", **first), tool("mark", "b"), tool("mark", "c", value="{v}"))],
        [
            graph(
                tool("mark", "a", **first),
                tool("mark", "b", depends_on_=["a"]),
                tool("mark", "c", value="{v}", depends_on_=["b"]),
            )
        ],
    ):
        run_id = desk.submit(blocks)
        hand = desk.hand()
        desk.play(hand, {"a.1": BOOM, "c": BOOM})
        desk.command(run_id, "retry")
        desk.check(run_id)
        assert [send.key for send in desk.messages] == ["a"]
        desk.play(hand)
        assert desk.statuses(run_id) == dict.fromkeys(("a", "a.0", "a.1", "b", "c"), "completed")
        assert desk.step_row(run_id, "b").attempts == 1
        desk.check(run_id)


def test_a_retry_keeps_the_order_of_a_graph_also_where_no_variable_is_read_and_a_second_failure_its_effect(
    desk: Desk,
) -> None:
    run_id = desk.submit(
        [
            graph(
                tool("mark", "a"),
                tool("mark", "b", depends_on_=["a"]),
                tool("mark", "c", depends_on_=["a", "b"]),
                tool("mark", "free"),
            )
        ]
    )
    hand = desk.hand()
    desk.play(hand, {"a": BOOM})
    desk.command(run_id, "retry")
    assert [send.key for send in desk.messages] == ["a"]
    desk.check(run_id)
    desk.play(hand, {"a": BOOM})
    assert desk.statuses(run_id) == {"a": "failed", "b": "skipped", "c": "skipped", "free": "completed"}
    desk.command(run_id, "retry")
    desk.play(hand)
    assert desk.status(run_id) == "completed"
    desk.check(run_id)


def test_items_that_a_retry_was_to_do_again_are_skipped_with_their_for_each(desk: Desk) -> None:
    run_id = desk.submit(
        [
            inline(tool("mark", "first", for_each_=[1, 2], output_variable_="v")),
            inline(tool("mark", "second", value="{v}", output_variable_="w")),
            linear(tool("mark", "each", value=["{w}", "{item}"], for_each_=["a", "b"])),
        ]
    )
    hand = desk.hand()
    desk.play(hand, {"each.0": BOOM})
    desk.write("update steps set status = 'failed' where key = 'second'")
    desk.command(run_id, "retry")
    desk.play(hand, {"second": BOOM})
    assert desk.statuses(run_id) == {
        "first": "completed", "first.0": "completed", "first.1": "completed", "second": "failed",
        "each": "skipped", "each.0": "skipped", "each.1": "completed",
    }  # fmt: skip
    assert desk.status(run_id) == "partial"
    desk.check(run_id)


def test_a_rejected_approval_is_asked_again_by_a_retry(desk: Desk) -> None:
    run_id = desk.submit([inline(approval("ask"), tool("mark", "next"))])
    desk.wait_for_person(run_id, "ask")
    desk.command(run_id, "approve", key="ask", approved=False, output=None)
    hand = desk.hand()
    desk.play(hand)
    desk.command(run_id, "retry")
    desk.play(hand)
    assert desk.status(run_id) == "waiting"
    desk.check(run_id)
    desk.command(run_id, "approve", key="ask", approved=True, output=1)
    desk.play(hand)
    assert desk.status(run_id) == "completed"
    desk.check(run_id)


def test_a_retry_queues_like_any_other_when_all_places_are_taken(desk: Desk) -> None:
    desk.set_places(1)
    run_id = desk.submit([inline(tool("mark", "a"))])
    hand = desk.hand()
    desk.play(hand, {"a": BOOM})
    other = desk.submit([inline(tool("mark", "a"))])
    assert desk.command(run_id, "retry") == "queued"
    assert hand.claim(run_id, "a") is None
    desk.take_messages()
    hand.perform(other, "a")
    assert [(send.run_id, send.key) for send in hand.messages] == [(run_id, "a")]
    desk.check(run_id)


def test_a_retry_gives_every_error_class_its_tries_again(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    hand = desk.hand()
    step = hand.must_claim(run_id, "a")
    hand.do(step.operation("park", reason="back-off", delay_s=0, error_class="transient", error={"code": "x"}))
    assert desk.step_row(run_id, "a").tries == {"transient": 1}
    hand.recover()
    hand.fail(hand.must_claim(run_id, "a"))
    desk.command(run_id, "retry")
    assert desk.step_row(run_id, "a").tries == {}
