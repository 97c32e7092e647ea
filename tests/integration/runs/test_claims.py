"""Who owns a step: claims, fences, takeovers, late answers."""

from __future__ import annotations

from tests.engine.desk import Desk
from tests.engine.documents import inline, linear, tool


def test_a_message_that_comes_twice_is_refused_the_second_time(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    hand, other = desk.hand(), desk.hand()
    step = hand.must_claim(run_id, "a")
    assert other.claim(run_id, "a") is None
    hand.finish(step)
    assert other.claim(run_id, "a") is None
    assert hand.claim(run_id, "a") is None
    assert desk.view(run_id).steps[0].attempts == 1


def test_a_message_for_what_is_gone_is_refused(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    hand = desk.hand()
    assert hand.claim(run_id, "nothing") is None
    assert hand.claim("00000000-0000-7000-8000-000000000000", "a") is None


def test_a_claim_whose_commit_was_not_heard_of_is_given_again_to_the_same_claim(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    hand = desk.hand()
    first, again = hand.claim(run_id, "a", "claim-1"), hand.claim(run_id, "a", "claim-1")
    assert first is not None
    assert again is not None
    assert (again.fence, again.attempts) == (first.fence, first.attempts)
    assert hand.claim(run_id, "a", "claim-2") is None
    assert desk.hand().claim(run_id, "a", "claim-1") is None
    assert desk.events(run_id).count(("step_started", "a")) == 1


def test_a_dead_owners_step_is_taken_over_and_the_dead_ones_finish_is_refused(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"), tool("mark", "b"))])
    dead, heir = desk.hand(), desk.hand()
    old = dead.must_claim(run_id, "a")
    assert heir.claim(run_id, "a") is None
    dead.die()
    new = heir.must_claim(run_id, "a")
    assert new.fence > old.fence
    assert dead.finish(old, "too late") == {"fenced": True}
    assert desk.statuses(run_id) == {"a": "running", "b": "pending"}
    heir.finish(new, "in time")
    assert desk.view(run_id).steps[0].output == "in time"
    desk.check(run_id)


def test_a_late_finish_of_ones_own_earlier_claim_is_refused(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    hand = desk.hand()
    first = hand.must_claim(run_id, "a")
    hand.do(first.operation("park", reason="handed back", delay_s=0))
    second = hand.must_claim(run_id, "a")
    assert hand.finish(first) == {"fenced": True}
    assert hand.finish(second) == {"fenced": False}


def test_a_finish_that_is_written_twice_counts_once(desk: Desk) -> None:
    run_id = desk.submit([linear(tool("mark", "a"), tool("mark", "b"), tool("mark", "c"))])
    hand = desk.hand()
    step = hand.must_claim(run_id, "a")
    hand.finish(step)
    assert hand.finish(step) == {"fenced": True}
    [remaining] = desk.read("select remaining from blocks where run_id = :run", run=run_id)[0]
    assert remaining == 2
    desk.check(run_id)


def test_parking_waiting_and_a_handed_back_step_count_no_crash_and_no_try(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    hand = desk.hand()
    for reason in ("rate", "handed back", "breaker"):
        hand.do(hand.must_claim(run_id, "a").operation("park", reason=reason, delay_s=0))
        hand.recover()
    row = desk.step_row(run_id, "a")
    assert (row.crashes, row.tries, row.attempts) == (0, {}, 3)


def test_what_a_step_was_rendered_to_is_what_the_next_try_is_given(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a", value="{v}"))], {"v": "first"})
    dead, heir = desk.hand(), desk.hand()
    step = dead.must_claim(run_id, "a")
    dead.do(step.operation("freeze", rendered={"value": "as it was"}))
    dead.die()
    assert heir.must_claim(run_id, "a").rendered == {"value": "as it was"}


def test_a_step_that_kills_its_sixth_owner_fails_and_the_run_goes_on(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("poison", "a"), tool("mark", "b"))])
    keeper = desk.hand()
    for _ in range(6):
        assert desk.statuses(run_id)["a"] == "ready"
        victim = desk.hand()
        victim.must_claim(run_id, "a")
        victim.die()
        keeper.recover()
    steps = {step.key: step for step in desk.view(run_id).steps}
    assert steps["a"].status == "failed"
    assert steps["a"].error is not None
    assert steps["a"].error["code"] == "worker_lost"
    assert steps["b"].status == "ready"
    desk.check(run_id)


def test_a_poisonous_step_ends_also_when_its_own_old_message_is_always_quicker_than_recovery(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("poison", "a"))])
    for _ in range(6):
        victim = desk.hand()
        assert victim.claim(run_id, "a") is not None
        victim.die()
    assert desk.hand().claim(run_id, "a") is None
    desk.hand().recover()
    assert desk.status(run_id) == "failed"


def test_no_lease_is_dead_before_the_server_has_been_up_for_a_whole_one(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    dead, heir = desk.hand(), desk.hand()
    dead.must_claim(run_id, "a")
    dead.die()
    for lease, expected in ((1_000_000.0, False), (0.001, True)):
        question = "select batuta_owner_is_dead(%s::uuid, make_interval(secs => %s))"
        assert heir.execute(question, (dead.process_id, lease)) == [(expected,)]


def test_an_item_is_not_handed_the_whole_list_again(desk: Desk) -> None:
    run_id = desk.submit(
        [linear(tool("mark", "each", value=["{item}", "{other}"], for_each_="{list}"))],
        {"list": ["x" * 100] * 3, "other": 1},
    )
    hand = desk.hand()
    hand.do(hand.decide(hand.must_claim(run_id, "each")) or {})
    assert set(hand.must_claim(run_id, "each.1").values) == {"item", "index", "other"}
