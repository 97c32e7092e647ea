"""Two and more at once: real connections in real threads."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from functools import partial
from typing import Any

import psycopg2
import psycopg2.errors

from tests.engine.desk import Desk, Hand
from tests.engine.documents import approval, graph, inline, linear, tool

ROUNDS = 15


def at_once(*works: Callable[[], Any]) -> list[Any]:
    """Do several things at the same moment; gives their results, and raises what one raised."""
    barrier = threading.Barrier(len(works))

    def start(work: Callable[[], Any]) -> Any:
        barrier.wait(10)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [future.result(30) for future in [pool.submit(start, work) for work in works]]


def patient(work: Callable[[], Any]) -> Any:
    """Do it again after a deadlock, as the worker's journal does."""
    for _ in range(5):
        try:
            return work()
        except psycopg2.errors.DeadlockDetected:
            continue
    raise AssertionError("deadlocked five times")


def test_of_two_siblings_that_finish_at_once_exactly_one_opens_the_next_block(desk: Desk) -> None:
    hands = [desk.hand(), desk.hand()]
    for _ in range(ROUNDS):
        run_id = desk.submit([linear(tool("mark", "a"), tool("mark", "b")), inline(tool("mark", "c"))])
        steps = [hand.must_claim(run_id, key) for hand, key in zip(hands, "ab", strict=True)]
        at_once(*(lambda hand=hand, step=step: hand.finish(step) for hand, step in zip(hands, steps, strict=True)))
        assert [send.key for hand in hands for send in hand.messages] == ["c"]
        assert desk.events(run_id).count(("block_opened", None)) == 2
        for hand in hands:
            hand.messages.clear()
        desk.check(run_id)


def test_a_join_of_a_graph_becomes_ready_once_though_all_it_waits_for_end_at_once(desk: Desk) -> None:
    hands = [desk.hand() for _ in range(4)]
    keys = ["a", "b", "c", "d"]
    for _ in range(ROUNDS):
        run_id = desk.submit([graph(*(tool("mark", key) for key in keys), tool("mark", "join", depends_on_=keys))])
        steps = [hand.must_claim(run_id, key) for hand, key in zip(hands, keys, strict=True)]
        at_once(*(lambda hand=hand, step=step: hand.finish(step) for hand, step in zip(hands, steps, strict=True)))
        assert [send.key for hand in hands for send in hand.messages] == ["join"]
        for hand in hands:
            hand.messages.clear()
        desk.check(run_id)


def test_of_many_who_claim_one_step_at_once_one_gets_it(desk: Desk) -> None:
    hands = [desk.hand() for _ in range(6)]
    for _ in range(ROUNDS):
        run_id = desk.submit([inline(tool("mark", "a"))])
        claims = at_once(*(lambda hand=hand, run_id=run_id: hand.claim(run_id, "a") for hand in hands))
        assert sum(claim is not None for claim in claims) == 1


def test_a_cancel_against_a_finish_ends_the_run_and_needs_no_second_try(desk: Desk) -> None:
    hand = desk.hand()
    for _ in range(ROUNDS):
        run_id = desk.submit(
            [linear(tool("mark", "a"), tool("mark", "b")), linear(*(tool("mark", f"c{n}") for n in range(5)))]
        )
        step = hand.must_claim(run_id, "a")
        at_once(partial(hand.finish, step), partial(desk.cancel, run_id))
        assert desk.status(run_id) == "cancelled"
        desk.check(run_id)


def test_two_cancels_at_once_are_one(desk: Desk) -> None:
    for _ in range(ROUNDS):
        run_id = desk.submit([linear(tool("mark", "a"), tool("mark", "b"))])
        at_once(partial(desk.cancel, run_id), partial(desk.cancel, run_id))
        assert desk.status(run_id) == "cancelled"
        assert desk.events(run_id).count(("run_cancelled", None)) == 1
        desk.check(run_id)


def test_an_approval_is_given_once_though_two_say_yes_and_no_at_once(desk: Desk) -> None:
    for _ in range(ROUNDS):
        run_id = desk.submit([inline(approval("ask"))])
        desk.wait_for_person(run_id, "ask")
        said = at_once(
            partial(desk.command, run_id, "approve", key="ask", approved=True, output=1),
            partial(desk.command, run_id, "approve", key="ask", approved=False, output=None),
        )
        assert sum(answer is not None for answer in said) == 1
        assert desk.events(run_id).count(("step_judged", "ask")) == 1
        desk.check(run_id)


def test_a_slot_that_is_freed_while_another_parks_for_it_wakes_it(desk: Desk) -> None:
    holder, comer = desk.hand(), desk.hand()
    for number in range(ROUNDS * 2):
        name = f"slot{number}"
        runs = [desk.submit([inline(tool("on_stage", "a"))]) for _ in range(3)]
        held = [holder.must_claim(run_id, "a") for run_id in runs[:2]]
        for step in held:
            holder.do(step.operation("slots", slots=[[name, 2]]))
        coming = comer.must_claim(runs[2], "a")
        at_once(
            # The second place, so that the two transactions touch different rows.
            partial(holder.finish, held[1]),
            partial(comer.do, coming.operation("slots", slots=[[name, 2]])),
        )
        got = desk.read("select count(*) from slots where name = :n and run_id = :run", n=name, run=runs[2]) == [(1,)]
        woken = (runs[2], "a") in [*holder.wakes, *comer.wakes]
        assert got or woken, "the freed slot was seen by nobody"
        holder.wakes.clear()
        comer.wakes.clear()


def test_slots_are_never_held_by_more_than_their_places_however_many_ask(desk: Desk) -> None:
    hands = [desk.hand() for _ in range(6)]
    run_id = desk.submit([linear(*(tool("on_stage", f"s{n}") for n in range(6)))])
    steps = [hand.must_claim(run_id, f"s{n}") for n, hand in enumerate(hands)]
    want = [["camera", 2], ["vendor", 2]]
    at_once(
        *(
            lambda hand=hand, step=step: patient(lambda: hand.do(step.operation("slots", slots=want)))
            for hand, step in zip(hands, steps, strict=True)
        )
    )
    assert desk.read("select name, count(*) from slots where run_id is not null group by name order by name") == [
        ("camera", 2),
        ("vendor", 2),
    ]
    assert desk.read("select count(*) from steps where status = 'parked'") == [(4,)]


def test_fifty_reservations_at_once_never_pass_the_cap(desk: Desk) -> None:
    hands = [desk.hand() for _ in range(10)]
    run_id = desk.submit(
        [linear(*({"id": f"s{n}", "model": "fast_ai", "prompt": "?"} for n in range(50)))], max_cost_usd="1"
    )
    steps = [(hand, hand.must_claim(run_id, f"s{n * 10 + m}")) for m, hand in enumerate(hands) for n in range(5)]
    mine = {hand.process_id: [step for other, step in steps if other is hand] for hand in hands}

    def reserve(hand: Hand) -> list[dict[str, Any]]:
        return [hand.reserve(step, "0.07") for step in mine[hand.process_id]]

    answers = [answer for each in at_once(*(lambda hand=hand: reserve(hand) for hand in hands)) for answer in each]
    assert sum("ordinal" in answer for answer in answers) == 14
    assert desk.run_row(run_id).reserved_usd == Decimal("0.98")
    assert desk.status(run_id) == "running"
    assert desk.read("select count(*) from steps where status = 'parked' and reason = 'budget'") == [(36,)]
    assert desk.read("select distinct reserved_usd from budgets") == [(Decimal("0.98"),)]
    desk.check(run_id)


def test_a_top_up_at_the_moment_of_parking_is_not_lost(desk: Desk) -> None:
    hand = desk.hand()
    for _ in range(ROUNDS):
        run_id = desk.submit([inline({"id": "a", "model": "fast_ai", "prompt": "?"})], max_cost_usd="0.1")
        step = hand.must_claim(run_id, "a")
        answer, _ = at_once(
            partial(hand.reserve, step, "0.5"),
            partial(desk.command, run_id, "budget", max_cost_usd="1"),
        )
        assert desk.status(run_id) == "running"
        assert "ordinal" in answer or hand.claim(run_id, "a") is not None
        desk.check(run_id)


def test_caps_of_day_and_owners_hold_against_reservations_of_many_runs_at_once(desk: Desk) -> None:
    hands = [desk.hand() for _ in range(8)]
    steps = []
    for number, hand in enumerate(hands):
        owner = "ann" if number % 2 else "zoe"
        run_id = desk.submit([inline({"id": "a", "model": "fast_ai", "prompt": "?"})], owner=owner)
        steps.append(hand.must_claim(run_id, "a"))
    at_once(
        *(
            lambda hand=hand, step=step: patient(
                lambda: hand.reserve(step, "0.4", day_cap_usd="2", owner_cap_usd="0.9")
            )
            for hand, step in zip(hands, steps, strict=True)
        )
    )
    assert desk.read("select name, reserved_usd from budgets order by name") == [
        ("", Decimal("1.6")),
        ("ann", Decimal("0.8")),
        ("zoe", Decimal("0.8")),
    ]


def test_places_are_never_given_twice_and_none_is_lost_when_runs_start_and_end_at_once(desk: Desk) -> None:
    desk.set_places(3)
    hands = [desk.hand() for _ in range(6)]

    def live(hand: Hand) -> None:
        for _ in range(4):
            run_id = desk.submit([inline(tool("mark", "a"))])
            step = hand.claim(run_id, "a")
            assert desk.read("select count(*) from runs where status = 'running'")[0][0] <= 3
            if step is not None:
                hand.finish(step)

    at_once(*(lambda hand=hand: live(hand) for hand in hands))
    keeper = hands[0]
    while desk.read("select 1 from runs where finished_at is null"):
        keeper.recover()
        for [run_id] in desk.read("select run_id::text from runs where status = 'running'"):
            step = keeper.claim(run_id, "a")
            if step is not None:
                keeper.finish(step)
    assert desk.read("select count(*) filter (where run_id is null), count(*) from admission") == [(3, 3)]


def test_batches_of_many_runs_in_any_order_do_not_deadlock(desk: Desk) -> None:
    hands = [desk.hand() for _ in range(4)]
    runs = [desk.submit([linear(*(tool("mark", f"s{n}") for n in range(4)))]) for _ in range(8)]

    def finish_all(number: int, hand: Hand) -> None:
        steps = [hand.must_claim(run_id, f"s{number}") for run_id in runs]
        shuffled = random.Random(number).sample(steps, len(steps))
        hand.do(*(step.operation("finish", status="completed", output=1) for step in shuffled))

    at_once(*(lambda number=number, hand=hand: finish_all(number, hand) for number, hand in enumerate(hands)))
    assert {desk.status(run_id) for run_id in runs} == {"completed"}
    for run_id in runs:
        desk.check(run_id)


def test_recovery_beside_working_hands_neither_blocks_nor_doubles(desk: Desk) -> None:
    workers = [desk.hand() for _ in range(3)]
    keepers = [desk.hand() for _ in range(2)]
    runs = [desk.submit([inline(*(tool("mark", f"s{n}") for n in range(6)))]) for _ in range(9)]
    done = threading.Event()

    def work(hand: Hand, mine: list[str]) -> None:
        for run_id in mine:
            for n in range(6):
                step = hand.must_claim(run_id, f"s{n}")
                assert hand.finish(step) == {"fenced": False}

    def recover(hand: Hand) -> None:
        while not done.is_set():
            hand.execute("update steps set enqueued_at = 'epoch', resends = 0 where status = 'ready' and false")
            patient(lambda: hand.recover(epoch="2100-01-01"))

    with ThreadPoolExecutor(5) as pool:
        recovering = [pool.submit(recover, hand) for hand in keepers]
        working = [pool.submit(work, hand, runs[n::3]) for n, hand in enumerate(workers)]
        try:
            for future in working:
                future.result(60)
        finally:
            done.set()
        for future in recovering:
            future.result(10)
    assert {desk.status(run_id) for run_id in runs} == {"completed"}
    for run_id in runs:
        desk.check(run_id)
        assert all(step.attempts == 1 for step in desk.view(run_id).steps)
