"""What turns teach, and what routing them saved, read from a real database."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from app.chat.agents import ANSWER_PART, CATEGORY_PART
from app.chat.lessons import PgChatLessons
from app.chat.model import FIRST_STEP
from app.chat.routing import TRIED
from app.chat.savings import Share
from app.chat.tables import chat_turns
from app.cli import main
from app.runs.tables import calls
from app.settings import Settings

NOW = datetime(2026, 11, 20, tzinfo=UTC)
A_WEEK = timedelta(days=7)


@pytest.fixture
def lessons(engine: sa.Engine) -> PgChatLessons:
    return PgChatLessons(engine)


def hear(lessons: PgChatLessons, count: int = 1, **columns: Any) -> None:
    """Write down answered messages; an L answered by the strong model if nothing else is said."""
    good = columns.get("good")
    row = {
        "owner": "ann", "position": 1, "asked": {"message": "Why?"}, "holdout": False, "streams": False,
        "created_at": NOW, "answered_at": NOW, "category": "L", "model": "thinking_ai", "reason": "so",
        "moved_from": None, "held_from": None, "cost_usd": Decimal("0.01"), "saved_usd": Decimal(0),
        "good": good, "judged_at": None if good is None else NOW, **columns,
    }  # fmt: skip
    with lessons.engine.begin() as connection:
        connection.execute(chat_turns.insert(), [row | {"run_id": str(uuid.uuid4())} for _ in range(count)])


def test_a_system_without_chats_has_saved_nothing(lessons: PgChatLessons) -> None:
    savings = lessons.savings(NOW - A_WEEK)
    assert (savings.requests, savings.moved_share) == (0, 0.0)
    assert savings.spent_usd == savings.saved_usd == Decimal(0)


def test_dollars_are_of_chats_of_one_model_in_the_time_that_is_asked_for(lessons: PgChatLessons) -> None:
    hear(lessons, 2, category="M", model="medium_ai", cost_usd=Decimal("0.001"), saved_usd=Decimal("0.009"))
    hear(lessons, category="H", model="thinking_fast_response_ai")
    hear(lessons, created_at=NOW - 2 * A_WEEK)
    hear(lessons, answered_at=None, category=None, model=None)
    savings = lessons.savings(NOW - A_WEEK)
    assert savings.requests == 2
    assert (savings.spent_usd, savings.saved_usd) == (Decimal("0.002"), Decimal("0.018"))
    assert savings.always_thinking_usd == Decimal("0.020")


def test_like_is_compared_with_like(lessons: PgChatLessons) -> None:
    hear(lessons, 5, category="M", model="medium_ai", good=True)  # cheaper, as documented
    hear(lessons, 4, model="medium_ai", moved_from="thinking_ai", good=False)  # moved on evidence
    hear(lessons, 3, model="medium_ai", moved_from="thinking_ai", reason=f"{TRIED}", good=True)  # tried
    hear(lessons, 2, category="M", holdout=True, held_from="medium_ai", good=True)
    hear(lessons, 1, holdout=True, held_from="medium_ai", good=False)  # an L that would have been moved
    hear(lessons, 6, holdout=True, held_from="thinking_ai", good=True)  # one that would have stayed: no comparison
    hear(lessons, 7, good=True)
    savings = lessons.savings(NOW - A_WEEK)
    assert (savings.requests, savings.moved, savings.held_out) == (28, 4, 9)
    assert savings.cheaper == (Share(8, 12), Share(2, 3))
    assert savings.scored == (Share(0, 4), Share(0, 1))


def test_verdicts_teach_which_model_did_well_and_only_of_answers_by_one_model(lessons: PgChatLessons) -> None:
    hear(lessons, category="M", model="fast_ai", good=False)
    hear(lessons, category="L", model="image_analysis_ai", good=True)
    hear(lessons, category="H", model="thinking_ai", good=True)
    hear(lessons, model="thinking_ai", good=True, asked=None)
    hear(lessons)
    with lessons.engine.connect() as connection:
        [verdict] = lessons.read_verdicts(connection)
        assert lessons.count_verdicts(connection, None) == (1, NOW)
        assert lessons.count_verdicts(connection, NOW) == (0, None)
    assert (verdict.category, verdict.model, verdict.good) == ("M", "fast_ai", False)


def pay(lessons: PgChatLessons, usd: str | None, **columns: Any) -> None:
    """Write a call of every message's run into the ledger; an answer of the strong model if nothing else is said."""
    with lessons.engine.begin() as connection:
        runs = connection.execute(sa.select(chat_turns.c.run_id)).scalars().all()
        row = {
            "step_key": FIRST_STEP, "part": ANSWER_PART, "owner": "ann", "kind": "chat", "provider": "openai",
            "model": "thinking_ai", "status": "answered", "request": {}, "estimate_usd": Decimal(1), "ordinal": 1,
            "cost_usd": None if usd is None else Decimal(usd), **columns,
        }  # fmt: skip
        connection.execute(calls.insert(), [row | {"run_id": run_id} for run_id in runs])


def test_a_verdict_brings_what_the_answer_alone_cost_by_the_ledger(lessons: PgChatLessons) -> None:
    hear(lessons, good=True, cost_usd=Decimal("0.5"))
    pay(lessons, "0.02")
    pay(lessons, "0.003", ordinal=2)  # it was cut short, and went on
    pay(lessons, "0.4", ordinal=3, part=CATEGORY_PART, model="categorizer_ai")
    pay(lessons, "0.1", ordinal=4, model="medium_ai")  # asked first, and unusable
    pay(lessons, None, ordinal=5, status="failed")
    with lessons.engine.connect() as connection:
        [verdict] = lessons.read_verdicts(connection)
    assert verdict.usd == pytest.approx(0.023)


def test_a_verdict_on_an_answer_that_nobody_paid_for_has_no_dollars(lessons: PgChatLessons) -> None:
    hear(lessons, good=True)
    with lessons.engine.connect() as connection:
        assert [one.usd for one in lessons.read_verdicts(connection)] == [None]


def test_the_command_says_plainly_that_too_few_were_judged(
    lessons: PgChatLessons, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    hear(
        lessons, 2, category="M", model="medium_ai", saved_usd=Decimal("0.03"), good=True, created_at=datetime.now(UTC)
    )
    monkeypatch.setenv("DATABASE_URL", settings.storage.database_url)
    monkeypatch.setenv("REDIS_URL", settings.storage.redis_url)
    monkeypatch.setenv("DATA_DIR", str(settings.storage.data_dir))
    said = CliRunner().invoke(main, ["savings", "--since", "30d"])
    assert said.exit_code == 0, said.output
    assert "$0.060000 (75.0%)" in said.output
    assert "Too few to tell" in said.output
    refused = CliRunner().invoke(main, ["savings", "--since", "lately"])
    assert refused.exit_code == 1
    assert "--since takes" in refused.output
