"""A message over HTTP: its category, its answer, its session."""

from __future__ import annotations

import base64
import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from tests.acceptance.chat.conftest import CALLS, CATEGORISER, Chatting

PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01 and no more").decode()
PICTURE = f"data:image/png;base64,{PIXEL}"


def test_a_question_of_category_m_is_answered_by_the_medium_model_with_a_receipt(chatting: Chatting) -> None:
    chatting.says("M")
    chatting.simulator.answer(content="Because of the moon.", contains="Why are there tides?")
    answer = chatting.chat("Why are there tides?")
    assert set(answer) == {
        "session_id", "response", "category", "model_used", "timestamp", "task_id", "route", "cost"
    }  # fmt: skip
    assert answer["response"] == "Because of the moon."
    assert (answer["category"], answer["model_used"]) == ("M", "medium_ai")
    assert set(answer["route"]) == {"reason", "estimated_dollars", "saved_dollars"}
    assert answer["route"]["estimated_dollars"] > 0
    assert answer["route"]["saved_dollars"] > 0
    assert answer["cost"]["dollars"] > 0
    assert [request["model"] for request in chatting.asked()] == ["gpt-6-luna", "gpt-6-luna"]


def test_what_receipts_say_was_spent_is_what_the_ledger_says(chatting: Chatting) -> None:
    for letter in ("M", "L"):
        chatting.says(letter)
        answer = chatting.chat(f"A question of category {letter}")
        chatting.simulator.reset()
        [[receipt]] = chatting.trial.ask("select cost_usd from chat_turns where run_id = :run", run=answer["task_id"])
        [[ledger]] = chatting.trial.ask("select sum(cost_usd) from calls where run_id = :run", run=answer["task_id"])
        assert receipt == ledger == Decimal(str(answer["cost"]["dollars"]))


@pytest.mark.parametrize(("said", "category", "model"), [("l\n", "L", "thinking_ai"), ('"M".', "M", "medium_ai")])
def test_the_categorisers_letter_is_read_with_what_stands_around_it(
    chatting: Chatting, said: str, category: str, model: str
) -> None:
    chatting.says(said)
    answer = chatting.chat("Anything")
    assert (answer["category"], answer["model_used"]) == (category, model)


def test_a_categoriser_that_says_none_of_the_letters_means_h(chatting: Chatting) -> None:
    chatting.says("I think this is rather medium")
    answer = chatting.chat("Anything")
    assert answer["category"] == "H"
    assert "none of the letters" in answer["route"]["reason"]
    chatting.result(answer["task_id"])


def test_a_picture_goes_to_the_model_that_sees_without_a_categoriser(chatting: Chatting) -> None:
    answer = chatting.chat("What is this?", images=[PICTURE])
    assert (answer["category"], answer["model_used"]) == ("L", "image_analysis_ai")
    [request] = chatting.asked()
    assert any(part["type"] == "image_url" for part in request["messages"][-1]["content"])


@pytest.mark.parametrize(
    ("tokens", "model"), [(100_001, "thinking_ai"), (200_001, "long_context_ai"), (900_000, "long_context_ai")]
)
def test_what_is_long_is_routed_by_its_length(chatting: Chatting, tokens: int, model: str) -> None:
    answer = chatting.chat("Summarise it.", context_tokens=tokens)
    assert (answer["category"], answer["model_used"]) == ("L", model)
    assert len(chatting.asked()) == 1


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"message": ""}, 422),
        ({"message": " \n"}, 422),
        ({}, 422),
        ({"message": 5}, 422),
        ({"message": "x", "context_tokens": 900_001}, 413),
        ({"message": "x", "context_tokens": -1}, 422),
        ({"message": "x", "session_id": "../etc"}, 422),
        ({"message": "x", "session_id": "y" * 129}, 422),
        ({"message": "x", "session_id": ["a"]}, 422),
        ({"message": "x", "images": ["https://example.com/a.png"]}, 422),
        ({"message": "x", "images": ["a" * 64]}, 422),
        ({"message": "x", "images": ["data:image/png;base64,a"]}, 422),
        ({"message": "x", "images": ["data:image/png;base64,aGVsbG8="]}, 422),  # a text that says it is a picture
        ({"message": "x", "images": [f"data:image/jpeg;base64,{PIXEL}"]}, 422),
        ({"message": "x", "images": ["data:image/webp;base64,UklGRiQAAABXQVZFZm10IA=="]}, 422),  # a sound
        ({"message": "x", "images": ["data:text/html;base64,YQ=="]}, 422),
        ({"message": "x", "images": [PICTURE] * 17}, 422),
        ({"message": "x", "callback_url": "http://elsewhere.example/"}, 422),
        ({"message": "x" * 1_100_000}, 413),
    ],
)
def test_what_cannot_be_a_message_is_refused_and_nothing_is_asked(
    chatting: Chatting, body: dict[str, Any], status: int
) -> None:
    response = chatting.ask("POST", "/chat", json=body)
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    assert chatting.asked() == []


def test_a_message_is_given_to_models_as_it_was_typed(chatting: Chatting) -> None:
    typed = "Say {OPENAI_API_KEY}, {DATABASE_URL}, {user_message}, {chat.response} and {{x}} {0} %s $HOME."
    chatting.says("M")
    answer = chatting.chat(typed)
    for request in chatting.asked():
        assert request["messages"][-1]["content"] == typed
    assert chatting.lines(answer["session_id"])[0] == ("user", typed)
    assert "sk-of-the-simulator" not in str(chatting.ask("GET", f"/runs/{answer['task_id']}").json())


def test_a_session_is_gone_on_with_and_the_model_knows_what_was_said(chatting: Chatting) -> None:
    chatting.says("M")
    first = chatting.chat("My name is Ada.", session_id="")
    second = chatting.chat("What is my name?", session_id=first["session_id"])
    assert second["session_id"] == first["session_id"]
    last = chatting.asked()[-1]["messages"]
    assert [message["role"] for message in last] == ["system", "user", "assistant", "user"]
    assert last[1]["content"] == "My name is Ada."
    assert chatting.lines(first["session_id"]) == [
        ("user", "My name is Ada."),
        ("assistant", first["response"]),
        ("user", "What is my name?"),
        ("assistant", second["response"]),
    ]
    assert set(chatting.session(first["session_id"]).json()) == {"created_at", "messages"}


def test_a_session_can_be_opened_under_a_name_of_ones_own_and_is_its_owners_alone(chatting: Chatting) -> None:
    name = f"ann@example.com:{uuid.uuid4()}"
    chatting.says("M")
    assert chatting.chat("A secret: 4711", session_id=name)["session_id"] == name
    intruding = chatting.ask("POST", "/chat", "bob", json={"message": "What is the secret?", "session_id": name})
    assert intruding.status_code == 404
    assert chatting.session(name, "bob").status_code == 404
    assert chatting.ask("DELETE", f"/session/{name}", "bob").status_code == 404
    assert chatting.session(name, "boss").status_code == 200
    assert chatting.ask("DELETE", f"/session/{name}").json() == {"status": "deleted", "session_id": name}
    assert chatting.session(name).status_code == 404
    assert chatting.ask("DELETE", f"/session/{name}").status_code == 404
    assert chatting.trial.ask("select count(*) from chat_turns where asked::text like '%4711%'") == [(0,)]


def test_a_model_that_fails_for_good_is_a_502_and_leaves_no_half_turn(chatting: Chatting) -> None:
    name = f"s-{uuid.uuid4()}"
    chatting.says("M")
    chatting.chat("Before", session_id=name)
    chatting.simulator.reset()
    chatting.simulator.fault(CALLS, status=400, body={"error": {"message": "no", "type": "x"}}, times=None)
    response = chatting.ask("POST", "/chat", json={"message": "This fails", "session_id": name})
    assert response.status_code == 502, response.text
    assert response.json()["code"]
    assert next(text for _, text in chatting.lines(name)) == "Before"
    assert len(chatting.lines(name)) == 2
    chatting.trial.application.redis.flushdb()  # breakers


def test_the_same_key_gets_the_same_answer_and_asks_nobody_again(chatting: Chatting) -> None:
    chatting.says("M")
    key = {"Idempotency-Key": str(uuid.uuid4())}
    first = chatting.chat("Once", headers=key)
    asked = len(chatting.asked())
    assert chatting.chat("Once", headers=key) == first
    assert len(chatting.asked()) == asked
    assert chatting.ask("POST", "/chat", json={"message": "Other"}, headers=key).status_code == 409


def test_whoever_does_not_wait_is_told_where_to_look(chatting: Chatting) -> None:
    chatting.says("M")
    response = chatting.ask("POST", "/chat", json={"message": "Later"}, headers={"Prefer": "respond-async"})
    assert response.status_code == 202
    run = chatting.result(response.json()["task_id"])
    assert run["kind"] == "chat"
    assert run["status"] == "completed"
    assert run["result"]["category"] == "M"


def test_a_dry_run_asks_nobody_and_writes_nothing(chatting: Chatting) -> None:
    before = chatting.trial.ask("select count(*) from chat_turns")
    answer = chatting.chat("What would this cost?", dry_run=True)
    assert answer["dry_run"] is True
    assert [step["model"] for step in answer["steps"]] == ["categorizer_ai", "medium_ai"]
    assert answer["estimated"]["dollars_p50"] > 0
    assert chatting.asked() == []
    assert chatting.trial.ask("select count(*) from chat_turns") == before


def test_a_cap_pauses_the_chat_before_anything_is_asked(chatting: Chatting) -> None:
    response = chatting.ask("POST", "/chat", json={"message": "Costs", "max_cost_usd": 0})
    assert (response.status_code, response.json()["status"]) == (202, "paused_budget")
    assert chatting.asked() == []


def test_a_chat_that_came_to_its_end_is_called_back_with_its_answer(chatting: Chatting) -> None:
    chatting.says("M")
    answer = chatting.chat("Call me", callback_url=f"{chatting.simulator.base_url}/callbacks/chat")
    chatting.trial.await_that(lambda: chatting.simulator.count("/callbacks/chat") == 1, 20)
    [request] = chatting.simulator.log("/callbacks/chat")
    assert request["body"] == answer


def test_messages_at_once_in_one_session_all_arrive_each_beside_its_answer(chatting: Chatting) -> None:
    name = f"busy-{uuid.uuid4()}"
    chatting.says("M")
    questions = [f"Question {number}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda question: chatting.chat(question, session_id=name), questions))
    lines = chatting.lines(name)
    pairs = {lines[place][1]: lines[place + 1] for place in range(0, len(lines), 2)}
    assert pairs == {
        question: ("assistant", answer["response"]) for question, answer in zip(questions, answers, strict=True)
    }


def test_a_long_session_is_summarised_and_nothing_of_it_is_lost_to_its_reader(chatting: Chatting) -> None:
    name = f"long-{uuid.uuid4()}"
    chatting.says("M")
    chatting.simulator.answer(content="THE SUMMARY", contains="You keep the memory of a conversation short")
    for number in range(5):
        chatting.chat(f"{number}: " + "many words " * 60, session_id=name)
    messages = chatting.asked()[-1]["messages"]
    assert "THE SUMMARY" in messages[1]["content"]
    assert len(messages) < 1 + 2 * 5 + 1
    assert len(chatting.lines(name)) == 10


def test_a_summary_that_cannot_be_had_leaves_older_messages_out(chatting: Chatting) -> None:
    name = f"long-{uuid.uuid4()}"
    chatting.says("M")
    for number in range(3):
        chatting.chat(f"{number}: " + "many words " * 60, session_id=name)
    chatting.simulator.answer(
        content="", finish_reason="content_filter", contains="You keep the memory of a conversation short"
    )
    answer = chatting.chat("And now?", session_id=name)
    assert answer["category"] == "M"
    assert len(chatting.lines(name)) == 8


def test_a_verdict_is_its_owners_and_the_last_one_counts(chatting: Chatting) -> None:
    chatting.says("M")
    answer = chatting.chat("Was this good?")
    path = f"/chat/{answer['task_id']}/verdict"
    assert chatting.ask("POST", path, "bob", json={"good": True}).status_code == 404
    assert chatting.ask("POST", path, json={"good": True, "note": "fine"}).json()["good"] is True
    assert chatting.ask("POST", path, json={"good": False}).json()["note"] is None
    assert chatting.ask("POST", path, json={}).status_code == 422
    assert chatting.ask("POST", path, json={"good": True, "god": 1}).status_code == 422
    assert chatting.ask("POST", f"/chat/{uuid.uuid4()}/verdict", json={"good": True}).status_code == 404
    outcome = chatting.trial.application.chat.read_outcomes()[-1]
    assert (outcome.run_id, outcome.good, outcome.message) == (answer["task_id"], False, "Was this good?")
    assert (str(outcome.category), outcome.model, outcome.holdout) == ("M", "medium_ai", False)


def test_a_warm_up_costs_less_than_a_cent_and_is_not_done_twice(chatting: Chatting) -> None:
    chatting.trial.application.redis.delete("batuta:warmup:ann")
    first = chatting.ask("POST", "/chat/warmup", json={}).json()
    assert first["status"] == "warming"
    run = chatting.result(first["task_id"])
    assert run["status"] == "completed"
    assert run["result"]["done"]
    assert 0 < run["cost"]["dollars"] < 0.01
    assert chatting.ask("POST", "/chat/warmup", json={}).json()["status"] == "warm"
    assert CATEGORISER in str(chatting.asked()[0])


def test_what_was_said_in_a_deleted_session_is_nowhere_any_more_and_its_cost_stays_counted(chatting: Chatting) -> None:
    chatting.says("M")
    first = chatting.chat("My secret is KESTREL", headers={"Idempotency-Key": "kestrel"})
    *_, (_, streamed) = chatting.stream("What is it?", session_id=first["session_id"])
    spent = chatting.trial.ask("select sum(cost_usd) from calls where run_id = :run", run=first["task_id"])
    assert chatting.ask("DELETE", f"/session/{first['session_id']}").status_code == 200
    assert chatting.ask("GET", f"/runs/{first['task_id']}").status_code == 404
    again = chatting.ask(
        "POST", "/chat", json={"message": "My secret is KESTREL"}, headers={"Idempotency-Key": "kestrel"}
    )
    assert again.status_code == 404, again.text
    for table in ("calls", "steps", "run_inputs", "events", "chat_turns", "chat_messages", "chat_sessions"):
        assert chatting.trial.ask(f"select 1 from {table} t where t::text like '%KESTREL%'") == [], table
    assert chatting.trial.application.redis.exists(f"run:{streamed['task_id']}:tokens") == 0
    assert spent == chatting.trial.ask("select sum(cost_usd) from calls where run_id = :run", run=first["task_id"])


def test_what_is_under_way_when_its_session_is_deleted_is_forgotten_when_it_has_ended(chatting: Chatting) -> None:
    chatting.says("M")
    chatting.simulator.fault(CALLS, skip=1, delay_s=2)
    begun = chatting.ask(
        "POST", "/chat", json={"message": "OSPREY", "session_id": "going"}, headers={"Prefer": "respond-async"}
    ).json()
    chatting.trial.await_that(lambda: len(chatting.asked()) > 1, 20)
    assert chatting.ask("DELETE", "/session/going").status_code == 200
    chatting.result(begun["task_id"])
    chatting.trial.application.chat.tidy()
    assert chatting.ask("GET", f"/runs/{begun['task_id']}").status_code == 404
    assert chatting.trial.ask("select 1 from calls t where t::text like '%OSPREY%'") == []


def test_what_waits_for_money_when_its_session_is_deleted_does_not_wait_for_good(chatting: Chatting) -> None:
    chatting.says("H")
    begun = chatting.chat("A campaign for a BITTERN", session_id="poor", max_cost_usd=0.001)
    chatting.trial.await_status(begun["task_id"], "paused_budget")
    assert chatting.ask("DELETE", "/session/poor").status_code == 200
    assert chatting.ask("GET", f"/runs/{begun['task_id']}").status_code == 404
    assert chatting.trial.ask("select 1 from calls t where t::text like '%BITTERN%'") == []
