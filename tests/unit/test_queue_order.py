from __future__ import annotations

from collections import Counter

import pytest
from kombu.utils.scheduling import cycle_by_name

from app.broker import QUEUES, STEP_QUEUES
from app.queue_order import WeightedOrder, weight_of

LINEAR = ("linear.high", "linear.medium", "linear.low")


def order_of(*queues: str) -> WeightedOrder:
    order = WeightedOrder()
    order.update(queues)
    return order


def drain(order: WeightedOrder, waiting: dict[str, int], taken: int) -> list[str]:
    """Take messages as kombu does: ask for the order, take from the first queue that has one, say which it was."""
    story = []
    for _ in range(taken):
        asked = order.consume(len(QUEUES))
        queue = next(name for name in asked if waiting.get(name))
        waiting[queue] -= 1
        order.rotate(queue)
        story.append(queue)
    return story


def test_full_queues_are_drained_six_to_three_to_one() -> None:
    story = drain(order_of(*LINEAR), dict.fromkeys(LINEAR, 300), 200)
    assert Counter(story) == {"linear.high": 120, "linear.medium": 60, "linear.low": 20}


def test_the_shares_hold_within_every_ten_messages() -> None:
    story = drain(order_of(*LINEAR), dict.fromkeys(LINEAR, 300), 100)
    for start in range(0, 100, 10):
        assert Counter(story[start : start + 10]) == {"linear.high": 6, "linear.medium": 3, "linear.low": 1}


def test_with_only_low_waiting_every_message_is_low() -> None:
    assert set(drain(order_of(*STEP_QUEUES), {"linear.low": 50}, 50)) == {"linear.low"}


def test_a_queue_that_was_empty_banks_no_credit() -> None:
    order = order_of(*LINEAR)
    waiting = {"linear.low": 1000}
    drain(order, waiting, 500)
    waiting["linear.high"] = 1000
    story = Counter(drain(order, waiting, 70))
    assert story["linear.high"] == pytest.approx(60, abs=1)
    assert story["linear.low"] == pytest.approx(10, abs=1)


def test_inline_and_linear_queues_of_one_priority_share_alike() -> None:
    story = Counter(drain(order_of(*STEP_QUEUES), dict.fromkeys(STEP_QUEUES, 300), 400))
    assert story["inline.high"] == story["linear.high"] == 120
    assert story["inline.low"] == story["linear.low"] == 20


def test_control_and_learning_do_not_wait_behind_a_backlog() -> None:
    order = order_of(*QUEUES)
    waiting = dict.fromkeys(STEP_QUEUES, 1000)
    drain(order, waiting, 100)
    waiting["control"] = 1
    assert "control" in drain(order, waiting, 10)
    assert weight_of("control") == weight_of("learning") == weight_of("inline.high")


def test_a_queue_that_is_cancelled_is_not_asked_and_one_that_is_unknown_harms_nothing() -> None:
    order = order_of(*LINEAR)
    drain(order, dict.fromkeys(LINEAR, 10), 5)
    order.update(("linear.low",))
    assert order.consume(10) == ["linear.low"]
    assert order.rotate("never.heard.of") == "never.heard.of"


def test_no_more_queues_are_given_than_asked_for() -> None:
    assert len(order_of(*STEP_QUEUES).consume(2)) == 2


def test_kombu_finds_the_order_by_the_name_that_is_configured() -> None:
    assert cycle_by_name("app.queue_order:WeightedOrder") is WeightedOrder
