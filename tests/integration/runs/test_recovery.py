"""What a recovery pass finds, and what it leaves alone."""

from __future__ import annotations

import orjson

from tests.engine.desk import QUEUE_NAMES, Desk
from tests.engine.documents import inline, linear, tool

NOW = "2100-01-01T00:00:00Z"


def age(desk: Desk, seconds: int) -> None:
    """Let every message have been sent so long ago."""
    desk.write(f"update steps set enqueued_at = enqueued_at - interval '{seconds} seconds'")


def depths(**lengths: int) -> str:
    return orjson.dumps(
        {**dict.fromkeys(QUEUE_NAMES, 0), **{n.replace("_", "."): v for n, v in lengths.items()}}
    ).decode()


def test_the_steps_of_the_dead_are_sent_again(desk: Desk) -> None:
    run_id = desk.submit([linear(tool("mark", "a"), tool("mark", "b"))])
    dead, keeper = desk.hand(), desk.hand()
    dead.must_claim(run_id, "a")
    living = keeper.must_claim(run_id, "b")
    dead.die()
    assert keeper.recover()["lost"] == 1
    assert [send.key for send in keeper.messages] == ["a"]
    assert desk.step_row(run_id, "a").crashes == 1
    assert keeper.finish(living) == {"fenced": False}
    desk.check(run_id)


def test_a_message_that_nobody_answered_is_sent_again_later_and_later(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    hand = desk.hand()
    assert hand.recover()["resent"] == 0
    for waited in (5, 9, 17):
        age(desk, waited - 1 - waited // 2)
        assert hand.recover()["resent"] == 0
        age(desk, waited)
        assert hand.recover()["resent"] == 1
    assert [send.key for send in hand.messages] == ["a", "a", "a"]
    desk.check(run_id)


def test_steps_whose_messages_only_wait_their_turn_are_left_alone(desk: Desk) -> None:
    desk.submit([linear(*(tool("mark", f"s{n}") for n in range(3)))])
    hand = desk.hand()
    age(desk, 1000)
    assert hand.recover(depths=depths(linear_medium=3))["resent"] == 0
    assert hand.recover(depths=depths(linear_medium=2))["resent"] == 3


def test_with_the_broker_away_nothing_is_sent_again_but_the_dead_are_looked_after(desk: Desk) -> None:
    run_id = desk.submit([linear(tool("mark", "a"), tool("mark", "b"))])
    dead, keeper = desk.hand(), desk.hand()
    dead.must_claim(run_id, "a")
    dead.die()
    age(desk, 1000)
    counts = keeper.recover(depths=None)
    assert (counts["resent"], counts["lost"]) == (0, 1)


def test_after_the_broker_lost_its_memory_everything_that_is_ready_is_sent_at_once_and_once(desk: Desk) -> None:
    desk.submit([linear(*(tool("mark", f"s{n}") for n in range(3)))])
    hand = desk.hand()
    [[epoch]] = hand.execute("select clock_timestamp()::text")
    assert hand.recover(epoch=epoch, depths=depths(linear_medium=100))["resent"] == 3
    assert hand.recover(epoch=epoch, depths=depths(linear_medium=100))["resent"] == 0


def test_a_step_that_was_never_placed_is_not_sent(desk: Desk) -> None:
    desk.submit([linear(tool("mark", "a"), tool("mark", "b"), max_concurrency=1)])
    hand = desk.hand()
    age(desk, 1000)
    assert hand.recover()["resent"] == 1
    assert [send.key for send in hand.messages] == ["a"]


def test_parked_steps_come_again_when_their_time_has_come(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    hand = desk.hand()
    hand.do(hand.must_claim(run_id, "a").operation("park", reason="rate", delay_s=3600))
    assert hand.recover()["woken"] == 0
    desk.write("update steps set not_before = clock_timestamp()")
    assert hand.recover()["woken"] == 1
    assert hand.claim(run_id, "a") is not None


def test_a_cancel_that_was_interrupted_is_carried_out(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"), tool("mark", "b"))])
    desk.command(run_id, "cancel")
    assert desk.status(run_id) == "running"
    desk.hand().recover()
    assert desk.status(run_id) == "cancelled"
    assert set(desk.statuses(run_id).values()) == {"cancelled"}
    desk.check(run_id)


def test_the_steps_of_a_cancelled_run_whose_owner_died_are_cancelled(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    dead, keeper = desk.hand(), desk.hand()
    dead.must_claim(run_id, "a")
    dead.die()
    desk.cancel(run_id)
    assert desk.status(run_id) == "running"
    keeper.recover()
    assert desk.status(run_id) == "cancelled"
    desk.check(run_id)


def test_a_pass_leaves_a_run_alone_that_somebody_works_on_and_finds_it_the_next_time(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    dead, keeper = desk.hand(), desk.hand()
    dead.must_claim(run_id, "a")
    dead.die()
    with desk.engine.begin() as busy:
        busy.exec_driver_sql(f"select 1 from runs where run_id = '{run_id}' for update")
        assert keeper.recover()["lost"] == 0
    assert keeper.recover()["lost"] == 1


def test_only_one_pass_is_made_at_a_time_and_its_lock_ends_with_it(desk: Desk) -> None:
    first, second = desk.hand(), desk.hand()
    first.execute("begin")
    first.recover()
    assert second.recover() == {"busy": True}
    first.execute("commit")
    assert "busy" not in second.recover()


def test_a_step_of_a_paused_run_whose_owner_died_waits_for_the_run(desk: Desk) -> None:
    run_id = desk.submit([inline(tool("mark", "a"))])
    dead, keeper = desk.hand(), desk.hand()
    dead.must_claim(run_id, "a")
    desk.command(run_id, "pause")
    dead.die()
    keeper.recover()
    assert keeper.messages == []
    assert desk.statuses(run_id)["a"] == "ready"
    desk.take_messages()
    desk.command(run_id, "resume")
    assert [send.key for send in desk.take_messages()] == ["a"]
    desk.check(run_id)


def test_processes_that_are_long_gone_are_forgotten(desk: Desk) -> None:
    hand = desk.hand()
    desk.write(
        "insert into processes (process_id, role, name, expires_at) "
        "values (gen_random_uuid(), 'io', 'old', clock_timestamp() - interval '2 hours')"
    )
    hand.recover()
    assert desk.read("select name from processes") == [("test",)]
