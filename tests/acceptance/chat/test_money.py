"""What chats of all kinds say they cost, beside the ledger."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

from tests.acceptance.chat.conftest import ACKNOWLEDGER, CALLS, PLANNER, REPORTER, Chatting

PLAN = [{"type": "linear", "tasks": [{"model": "fast_ai", "prompt": "Write about {user_message}"}]}]


def spent(chatting: Chatting, task_id: str) -> Decimal:
    """What the run's own page says it cost."""
    return Decimal(str(chatting.ask("GET", f"/runs/{task_id}").json()["cost"]["dollars"]))


def ledger(chatting: Chatting, since: int) -> Decimal:
    [[total]] = chatting.trial.ask("select coalesce(sum(cost_usd), 0) from calls where call_id > :since", since=since)
    return Decimal(total)


def newest(chatting: Chatting) -> str:
    """The chat that was sent last; a problem does not name its run."""
    [[run_id]] = chatting.trial.ask(
        "select run_id::text from runs where kind = 'chat' order by created_at desc limit 1"
    )
    return str(run_id)


def last_call(chatting: Chatting) -> int:
    [[last]] = chatting.trial.ask("select coalesce(max(call_id), 0) from calls")
    return int(last)


def cost_of(answer: dict[str, Any]) -> Decimal:
    return Decimal(str(answer["cost"]["dollars"]))


def test_answers_of_every_kind_together_cost_what_the_ledger_says_to_the_cent(chatting: Chatting) -> None:
    before, costs = last_call(chatting), []
    for letter in ("M", "L"):
        chatting.says(letter)
        costs.append(cost_of(chatting.chat(f"A question of category {letter}")))
        chatting.simulator.reset()
    chatting.says("M")
    # A stream, a long session that is summarised, and an answer that is given a second time for nothing.
    [(_, done)] = [event for event in chatting.stream("Tell me slowly") if event[0] == "done"]
    costs.append(cost_of(done))
    session = f"long-{uuid.uuid4()}"
    costs += [cost_of(chatting.chat(f"{n}: " + "many words " * 60, session_id=session)) for n in range(4)]
    key = {"Idempotency-Key": str(uuid.uuid4())}
    once = chatting.chat("Only once", headers=key)
    assert chatting.chat("Only once", headers=key) == once
    costs.append(cost_of(once))
    # A first answer that breaks off, and one that is paid for and of no use.
    chatting.simulator.fault(CALLS, status=500, times=1)
    costs.append(cost_of(chatting.chat("After a fault")))
    chatting.simulator.answer(content="", finish_reason="content_filter", contains="Refused at first", times=1)
    response = chatting.ask("POST", "/chat", json={"message": "Refused at first"})
    costs.append(spent(chatting, newest(chatting)))
    assert response.status_code == 502, response.text
    chatting.simulator.reset()
    # A plan that must be repaired once.
    chatting.says("H")
    chatting.simulator.answer(content="I begin.", contains=ACKNOWLEDGER)
    chatting.simulator.answer(content="no plan at all", contains=PLANNER, times=1)
    chatting.simulator.answer(content=json.dumps({"workflow": PLAN}), contains=PLANNER)
    chatting.simulator.answer(content="It is done.", contains=REPORTER)
    planned = chatting.chat("Plan something")
    chatting.result(planned["task_id"])
    costs.append(spent(chatting, planned["task_id"]))
    chatting.simulator.reset()
    # A chat that fails for good after its category was paid for.
    chatting.says("M")
    chatting.simulator.fault(CALLS, status=400, body={"error": {"message": "no", "type": "x"}}, times=None, skip=1)
    failed = chatting.ask("POST", "/chat", json={"message": "This fails"})
    assert failed.status_code == 502, failed.text
    costs.append(spent(chatting, newest(chatting)))
    chatting.trial.application.redis.flushdb()  # breakers
    assert all(cost > 0 for cost in costs)
    assert sum(costs) == ledger(chatting, before)


def test_receipts_of_answers_by_one_model_hold_all_that_was_spent_on_them(chatting: Chatting) -> None:
    session, since = f"long-{uuid.uuid4()}", last_call(chatting)
    chatting.says("M")
    tasks = [chatting.chat(f"{n}: " + "many words " * 60, session_id=session)["task_id"] for n in range(5)]
    [[receipts]] = chatting.trial.ask(
        "select sum(cost_usd) from chat_turns where run_id = any(cast(:t as uuid[]))", t=tasks
    )
    assert any("You keep the memory" in str(request) for request in chatting.asked())
    assert receipts == ledger(chatting, since)
