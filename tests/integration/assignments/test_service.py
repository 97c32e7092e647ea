"""The use cases on a real database, with learned parts that a test plays."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from app.assignments.meeting import Activity, Candidate, Meeting
from app.assignments.model import Person, Result
from app.assignments.ports import MlStatus, Scores
from app.assignments.service import MEETINGS_AT_ONCE, AssignmentService, Feedback, Task
from app.assignments.store import PgAssignmentStore
from app.errors import NotFoundError, OverloadedError
from app.settings import AssignmentSettings, Settings

ROOT = Path(__file__).resolve().parents[3]
ROLE = "Lector"
SETTINGS = AssignmentSettings(feedback_threshold=3, meeting_rest_weeks=2, meeting_time_limit_s=20)
SAY_SCORES = """
import json, os, sys
from app.assignments.service import AssignmentService, Task
from app.assignments.store import PgAssignmentStore
from app.database import create_engine
from app.settings import Settings
settings = Settings.from_env(os.environ)
service = AssignmentService(PgAssignmentStore(create_engine(settings.storage)), settings.assignments)
print(json.dumps([service.assign_task(Task("Lector", (3, 1, 2), {}, {})), service.show_weights()["weights"]]))
"""


class FavouringScorer:
    """Expect one person to be accepted, and keep what it was asked."""

    def __init__(self, favourite: int) -> None:
        self._favourite = favourite
        self.rows: list[Mapping[str, Any]] = []

    def score(self, rows: Sequence[Mapping[str, Any]]) -> Scores | None:
        self.rows += rows
        return Scores(tuple(0.9 if row["person_id"] == self._favourite else 0.2 for row in rows), "assignment-1")


class CountingTrigger:
    """Train at the threshold, and keep what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[int, int]] = []

    def feedback_arrived(self, waiting: int, threshold: int) -> MlStatus:
        self.told.append((waiting, threshold))
        return MlStatus.RETRAINED if waiting >= threshold else MlStatus.SKIPPED


@pytest.fixture
def store(engine: sa.Engine) -> PgAssignmentStore:
    store = PgAssignmentStore(engine)
    store.put_persons([Person(i, f"Person {i}", "M", metadata={"skills": [ROLE], "age": 30 + i}) for i in (1, 2, 3)])
    return store


def rows_of(engine: sa.Engine, statement: str) -> list[Any]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sa.text(statement))]


def test_three_restarts_with_different_hash_seeds_give_the_same_scores(
    settings: Settings, store: PgAssignmentStore
) -> None:
    service = AssignmentService(store, SETTINGS)
    service.record_feedback(Feedback(ROLE, 2, Result.ACCEPTED))
    service.record_feedback(Feedback(ROLE, 1, Result.CORRECTED, 3))
    said = []
    for seed in ("0", "1", "4711"):
        done = subprocess.run(
            [sys.executable, "-c", SAY_SCORES],
            env={"PYTHONHASHSEED": seed, "DATABASE_URL": settings.storage.database_url, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        said.append(json.loads(done.stdout))
    assert said[0] == said[1] == said[2]
    here = service.assign_task(Task(ROLE, (3, 1, 2), {}, {}))
    assert said[0][0] == json.loads(json.dumps(here))
    assert [entry["person_id"] for entry in here["ranking"]] == [3, 2, 1]


def test_a_learned_part_is_added_to_the_formula_and_named(store: PgAssignmentStore) -> None:
    scorer = FavouringScorer(2)
    data = AssignmentService(store, SETTINGS, scorer).assign_task(Task(ROLE, (1, 2), {}, {}))
    assert (data["person_id"], data["model_version"]) == (2, "assignment-1")
    assert data["score"] == pytest.approx(2.5 + 0.9)
    assert "expected to be accepted, learned (+0.9)" in data["ranking"][0]["reasons"]
    assert [(row["person_id"], row["age"], row["has_skill"]) for row in scorer.rows] == [(1, 31, True), (2, 32, True)]


def test_a_meeting_asks_the_learned_part_among_those_who_wait_equally_long(store: PgAssignmentStore) -> None:
    people = tuple(Candidate(i, f"Person {i}", "M", ("a",), weeks) for i, weeks in ((1, 9), (2, 9), (3, 8)))
    meeting = Meeting(date(2024, 5, 1), people, (Activity("a", "A"),))
    scorer = FavouringScorer(2)
    planned = AssignmentService(store, SETTINGS, scorer).assign_meeting(meeting)
    assert planned["assignments"][0]["publicador"]["id"] == 2
    assert [row["weeks_idle"] for row in scorer.rows] == [9, 9, 8]


def test_the_trigger_is_told_how_much_feedback_waits(store: PgAssignmentStore) -> None:
    trigger = CountingTrigger()
    service = AssignmentService(store, SETTINGS, trigger=trigger)
    said = [service.record_feedback(Feedback(ROLE, 1, Result.ACCEPTED)) for _ in range(3)]
    assert trigger.told == [(1, 3), (2, 3), (3, 3)]
    assert [(each["ml_status"], each["feedback_since_last_retrain"]) for each in said] == [
        ("skipped", 1), ("skipped", 2), ("retrained", 0),
    ]  # fmt: skip
    assert said[2]["status"] == "weights_updated_and_model_retrained"


def test_a_training_takes_from_the_counter_what_it_used_and_no_more(
    engine: sa.Engine, store: PgAssignmentStore
) -> None:
    service = AssignmentService(store, SETTINGS)
    for _ in range(3):
        service.record_feedback(Feedback(ROLE, 1, Result.ACCEPTED))
    with store.transaction() as connection:
        store.consume_feedback(connection, 2)
    assert rows_of(engine, "select feedback_since_last_retrain from assignment_state") == [(1,)]


def test_feedback_keeps_what_was_known_before_it(engine: sa.Engine, store: PgAssignmentStore) -> None:
    service = AssignmentService(store, SETTINGS)
    service.record_feedback(Feedback(ROLE, 1, Result.ACCEPTED))
    service.record_feedback(Feedback(ROLE, 1, Result.CORRECTED, 2))
    first, second = (row[0] for row in rows_of(engine, "select known from assignment_history order by history_id"))
    assert (first["person"]["accepted"], first["person"]["judged"], first["person"]["age"]) == (0, 0, 31)
    assert "alternative" not in first
    assert (second["person"]["accepted"], second["person"]["judged"]) == (1, 1)
    assert (second["alternative"]["person_id"], second["alternative"]["judged"]) == (2, 0)


def test_feedback_that_fails_halfway_leaves_nothing(engine: sa.Engine, store: PgAssignmentStore) -> None:
    class BreakingStore(PgAssignmentStore):
        def count_feedback(self, connection: sa.Connection) -> int:
            raise NotFoundError("broken on purpose")

    with pytest.raises(NotFoundError):
        AssignmentService(BreakingStore(engine), SETTINGS).record_feedback(Feedback(ROLE, 1, Result.ACCEPTED))
    assert rows_of(engine, "select 1 from assignment_weights union all select 1 from assignment_history") == []


def test_a_meeting_beyond_those_at_work_is_sent_away_and_the_next_one_served(store: PgAssignmentStore) -> None:
    service = AssignmentService(store, AssignmentSettings(1, 2, 0.5))
    meeting = Meeting(date(2024, 5, 1), (Candidate(1, "x", "M", ("a",)),), (Activity("a", "A"),))
    taken = [service._desks.acquire() for _ in range(MEETINGS_AT_ONCE)]
    with pytest.raises(OverloadedError) as caught:
        service.assign_meeting(meeting)
    assert (caught.value.code, len(taken)) == ("meetings_busy", MEETINGS_AT_ONCE)
    service._desks.release()
    assert service.assign_meeting(meeting)["fairness"]["filled"] == 1


def test_two_at_once_who_plan_one_week_leave_one_plan(engine: sa.Engine, store: PgAssignmentStore) -> None:
    service = AssignmentService(store, SETTINGS)
    people = tuple(Candidate(i, f"Person {i}", "M", ("a",), 5) for i in (1, 2, 3))
    meeting = Meeting(date(2024, 5, 1), people, (Activity("a", "A"),) * 3)
    threads = [threading.Thread(target=service.assign_meeting, args=(meeting,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rows_of(engine, "select person_id from assignment_history order by 1") == [(1,), (2,), (3,)]
