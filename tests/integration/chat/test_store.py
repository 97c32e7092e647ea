"""Sessions and turns in a real database."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa

from app.chat.model import Asked, Category, Chosen, Receipt, Turn
from app.chat.store import PgChatStore
from app.errors import NotFoundError

A_DAY_S = 86_400.0
RECEIPT = Receipt(
    Chosen(Category.M, "medium_ai", "says so"), "medium_ai", Decimal("0.001"), Decimal("0.002"), Decimal("0.0005")
)


@pytest.fixture
def store(engine: sa.Engine) -> PgChatStore:
    return PgChatStore(engine, ttl_s=A_DAY_S)


def open_turn(store: PgChatStore, session_id: str = "s", owner: str = "ann", message: str = "Hello?") -> Turn:
    with store.engine.begin() as connection:
        position = store.open_session(connection, session_id, owner, is_new=False)
        turn = Turn(
            str(uuid.uuid4()), session_id, owner, position, Asked(message, ("data:x",), 7), holdout=False, streams=True
        )
        store.add_turn(connection, turn)
    return turn


def lines(store: PgChatStore, session_id: str = "s") -> list[str]:
    return [message.content for message in store.read_session(session_id, None).messages]


def age(store: PgChatStore, session_id: str = "s") -> None:
    with store.engine.begin() as connection:
        connection.execute(
            sa.text("update chat_sessions set expires_at = clock_timestamp() where session_id = :s"), {"s": session_id}
        )


def count(store: PgChatStore, table: str, where: str = "true") -> int:
    with store.engine.connect() as connection:
        return int(connection.execute(sa.text(f"select count(*) from {table} where {where}")).scalar_one())


def test_a_turn_comes_back_as_it_was_written_down(store: PgChatStore) -> None:
    turn = open_turn(store)
    assert store.read_turn(turn.run_id, most=10) == turn
    assert store.read_turn(str(uuid.uuid4()), most=10) is None


def test_lines_stand_in_the_order_in_which_messages_came_whichever_was_answered_first(store: PgChatStore) -> None:
    first, second = open_turn(store, message="1?"), open_turn(store, message="2?")
    store.keep_answer(second, "2!", RECEIPT)
    assert lines(store) == ["2?", "2!"]
    store.keep_answer(first, "1!", RECEIPT)
    assert lines(store) == ["1?", "1!", "2?", "2!"]


def test_a_result_stands_after_what_was_said_meanwhile(store: PgChatStore) -> None:
    planned = open_turn(store, message="Plan!")
    store.keep_answer(planned, "I begin.", RECEIPT)
    store.keep_answer(open_turn(store, message="And?"), "Well.", RECEIPT)
    store.keep_result(planned, "Done.")
    assert lines(store) == ["Plan!", "I begin.", "And?", "Well.", "Done."]


def test_what_is_kept_twice_is_kept_once(store: PgChatStore) -> None:
    turn = open_turn(store)
    for _ in range(2):
        store.keep_answer(turn, "Hi.", RECEIPT)
        store.keep_result(turn, "Done.")
    assert lines(store) == ["Hello?", "Hi.", "Done."]


def test_what_jsonb_and_text_refuse_is_replaced_and_not_lost(store: PgChatStore) -> None:
    turn = open_turn(store)
    store.keep_answer(turn, "a\x00b\ud83d", RECEIPT)
    assert lines(store)[1] == "a�b�"


def test_history_leaves_out_the_turn_itself_and_what_is_folded(store: PgChatStore) -> None:
    for number in range(3):
        store.keep_answer(open_turn(store, message=f"{number}?"), f"{number}!", RECEIPT)
    turn = open_turn(store)
    read = store.read_turn(turn.run_id, most=10)
    assert read is not None
    assert [message.content for message in read.history] == ["0?", "0!", "1?", "1!", "2?", "2!"]
    store.fold("s", "in short", [message.message_id for message in read.history[:4]], before="")
    again = store.read_turn(turn.run_id, most=10)
    assert again is not None
    assert (again.summary, [message.content for message in again.history]) == ("in short", ["2?", "2!"])
    assert len(lines(store)) == 6


def test_of_two_who_fold_at_once_the_second_changes_nothing(store: PgChatStore) -> None:
    store.keep_answer(open_turn(store), "Hi.", RECEIPT)
    turn = open_turn(store)
    read = store.read_turn(turn.run_id, most=10)
    assert read is not None
    ids = [message.message_id for message in read.history]
    store.fold("s", "mine", ids[:1], before="")
    store.fold("s", "late", ids, before="")
    again = store.read_turn(turn.run_id, most=10)
    assert again is not None
    assert again.summary == "mine"
    assert len(again.history) == 1


def test_of_two_owners_who_open_one_name_at_once_one_gets_it(store: PgChatStore) -> None:
    def attempt(owner: str) -> str:
        try:
            open_turn(store, "wanted", owner)
        except NotFoundError:
            return ""
        return owner

    with ThreadPoolExecutor(8) as pool:
        winners = set(pool.map(attempt, ["ann", "bob"] * 20)) - {""}
    assert len(winners) == 1
    assert count(store, "chat_turns") == 20


def test_positions_of_messages_at_once_are_all_different(store: PgChatStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        turns = list(pool.map(lambda _: open_turn(store), range(40)))
    assert sorted(turn.position for turn in turns) == list(range(1, 41))


def test_a_session_past_its_time_is_nobodys_and_nothing_of_it_comes_back(store: PgChatStore) -> None:
    store.keep_answer(open_turn(store, message="old secret"), "old answer", RECEIPT)
    age(store)
    with pytest.raises(NotFoundError):
        store.read_session("s", None)
    with pytest.raises(NotFoundError):
        store.delete_session("s", None)
    turn = open_turn(store, owner="bob")
    read = store.read_turn(turn.run_id, most=10)
    assert read is not None
    assert (read.position, read.history, lines(store)) == (1, (), [])


def test_housekeeping_takes_texts_and_leaves_receipts(store: PgChatStore) -> None:
    kept, judged = open_turn(store), open_turn(store)
    for turn in (kept, judged):
        store.keep_answer(turn, "Hi.", RECEIPT)
    store.judge(judged.run_id, "ann", good=True, note=None)
    age(store)
    assert store.delete_expired(receipts_age_s=A_DAY_S) == 1
    assert store.delete_expired(receipts_age_s=A_DAY_S) == 0
    assert count(store, "chat_messages") == 0
    assert count(store, "chat_turns", "asked is not null") == 1
    assert [outcome.message for outcome in store.read_outcomes()] == ["Hello?"]
    assert store.delete_expired(receipts_age_s=-1) == 0
    assert count(store, "chat_turns") == 0


def test_a_deleted_session_keeps_no_text_not_even_a_judged_one(store: PgChatStore) -> None:
    turn = open_turn(store)
    store.keep_answer(turn, "Hi.", RECEIPT)
    store.judge(turn.run_id, "ann", good=False, note="a private note")
    store.delete_session("s", "ann")
    [outcome] = store.read_outcomes()
    assert outcome.message is None
    with pytest.raises(NotFoundError):
        store.judge(turn.run_id, "ann", good=False, note="said once more")
    assert count(store, "chat_turns", "note is not null or asked is not null") == 0


def test_an_answer_that_comes_after_its_session_was_deleted_brings_nothing_back(store: PgChatStore) -> None:
    turn = open_turn(store)
    store.delete_session("s", "ann")
    store.keep_answer(turn, "Hi.", RECEIPT)
    store.keep_result(turn, "Done.")
    assert count(store, "chat_sessions") == count(store, "chat_messages") == 0
    assert count(store, "chat_turns", "answered_at is not null") == 1


def test_what_belongs_to_a_deleted_session_never_reaches_another_of_its_name(store: PgChatStore) -> None:
    store.keep_answer(open_turn(store), "Hi.", RECEIPT)
    late = open_turn(store, message="a private question")
    read = store.read_turn(late.run_id, most=10)
    assert read is not None
    store.delete_session("s", "ann")
    bobs = open_turn(store, owner="bob", message="Hello?")
    store.keep_answer(late, "a private answer", RECEIPT)
    store.keep_result(late, "a private result")
    store.fold("s", "a private summary", [message.message_id for message in read.history], before="")
    store.keep_answer(bobs, "Hello.", RECEIPT)
    again = store.read_turn(bobs.run_id, most=10)
    assert again is not None
    assert (lines(store), again.summary) == (["Hello?", "Hello."], "")


@pytest.mark.parametrize(("owner", "answered"), [("bob", True), ("ann", False)])
def test_only_an_answer_of_ones_own_can_be_judged(store: PgChatStore, owner: str, *, answered: bool) -> None:
    turn = open_turn(store)
    if answered:
        store.keep_answer(turn, "Hi.", RECEIPT)
    with pytest.raises(NotFoundError):
        store.judge(turn.run_id, owner, good=True, note=None)


def test_outcomes_hold_what_learning_needs(store: PgChatStore) -> None:
    turn = open_turn(store)
    held = Receipt(
        Chosen(Category.L, "thinking_ai", "x", holdout=True), "sub_master_ai", Decimal(0), Decimal(-1), Decimal(2)
    )
    store.keep_answer(turn, "Hi.", held)
    judged_at: Any = store.judge(turn.run_id, None, good=False, note="no")
    [outcome] = store.read_outcomes()
    assert (outcome.category, outcome.model, outcome.holdout) == (Category.L, "sub_master_ai", True)
    assert (outcome.good, outcome.cost_usd, outcome.judged_at) == (False, Decimal(2), judged_at)
    assert outcome.context_tokens == 7
