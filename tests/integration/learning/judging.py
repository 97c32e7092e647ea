"""Feedback on assignments that follows a rule, and a system that learns from it."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.assignments.model import Facts, Person, Record, features
from app.assignments.service import AssignmentService
from app.assignments.store import PgAssignmentStore
from app.assignments.tables import assignment_history, assignment_state
from app.learning.artifacts import FOLDER, ArtifactFolder
from app.learning.assignment import AssignmentLearner
from app.learning.assignment_serving import LearnedAssignments
from app.learning.assignment_training import AssignmentTraining
from app.learning.model import Version
from app.learning.service import ScorerRegistry
from app.learning.store import PgVersions
from app.runs.model import RunView
from app.runs.ports import HandlerCatalog
from app.settings import AssignmentSettings, Settings
from tests.integration.studio.inline_runs import InlineRuns

ROLES = ("Lector", "Oracion")
PEOPLE = 40
ENOUGH = 400
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

Judged = tuple[dict[str, Any], str, datetime]  # what was known, the result, when


def person(number: int) -> Person:
    """Everybody knows how to read; experience, which no formula reads, is what people want of readers."""
    rng = random.Random(number)
    metadata = {"skills": list(ROLES), "experience_years": rng.randint(0, 30), "age": rng.randint(18, 80)}
    return Person(number, f"Person {number}", rng.choice("MF"), metadata=metadata)


def wanted(number: int, role: str) -> float:
    """P(accepted): who has experience reads, who has none prays."""
    experienced = person(number).facts().experience_years or 0
    return 0.85 if (experienced > 14) == (role == "Lector") else 0.2


def judgements(count: int, *, seed: int = 1, by_chance: bool = False) -> list[Judged]:
    """Make feedback as the service writes it: every row holds what was known then."""
    rng = random.Random(seed)
    records: dict[tuple[int, str], Record] = {}
    found: list[Judged] = []

    def describe(number: int, role: str) -> dict[str, Any]:
        who = person(number)
        facts = who.facts({"assignments_last_4w": rng.randint(0, 4)})
        return features(role, who, facts, records.get((number, role), Record()))

    def remember(number: int, role: str, accepted: int) -> None:
        before = records.get((number, role), Record())
        records[number, role] = Record(before.accepted + accepted, before.judged + 1)

    for at in range(count):
        role, (number, other) = rng.choice(ROLES), rng.sample(range(PEOPLE), 2)
        yes = rng.random() < (0.6 if by_chance else wanted(number, role))
        known = {"person": describe(number, role)}
        if not yes and not by_chance and wanted(other, role) > 0.5:
            known["alternative"] = describe(other, role)
        found.append((known, "aceptada" if yes else "corrigida", BEGAN + timedelta(minutes=at)))
        remember(number, role, int(yes))
        if "alternative" in known:
            remember(other, role, 1)
    return found


@dataclass
class Office:
    """Assignments that learn, on an engine in one thread."""

    engine: sa.Engine
    data_dir: Path
    store: PgAssignmentStore
    runs: InlineRuns
    registry: ScorerRegistry
    training: AssignmentTraining
    service: AssignmentService

    def hear(self, found: list[Judged]) -> None:
        """Write feedback down as if it had come through the service."""
        rows = [
            {
                "person_id": known["person"]["person_id"],
                "role": known["person"]["role"],
                "week_date": at.date(),
                "result": result,
                "alternative_id": known.get("alternative", {}).get("person_id"),
                "known": known,
                "created_at": at,
            }
            for known, result, at in found
        ]
        with self.engine.begin() as connection:
            connection.execute(assignment_history.insert(), rows)
            connection.execute(sa.delete(assignment_state))
            connection.execute(assignment_state.insert().values(feedback_since_last_retrain=len(rows)))

    def train(self) -> RunView:
        """Start the training that is due, and run it to its end."""
        assert self.training.start_due()
        return self.runs.finish_run(self.runs.published[-1])

    def waiting(self) -> int:
        with self.store.transaction() as connection:
            return self.store.read_training(connection).waiting

    def versions(self) -> list[Version]:
        return self.registry.list_versions("assignment")

    def artifact(self, version: Version) -> Path:
        return self.data_dir / FOLDER / version.artifact


def make_office(settings: Settings, engine: sa.Engine, *, threshold: int = 1, pause_s: float = 0.0) -> Office:
    """Build one; every call on the same database and folder is another process."""
    store = PgAssignmentStore(engine)
    store.put_persons([person(number) for number in range(PEOPLE)])
    data_dir = settings.storage.data_dir
    registry = ScorerRegistry(PgVersions(engine), ArtifactFolder(data_dir), [AssignmentLearner()])
    handlers = HandlerCatalog()
    runs = InlineRuns(handlers)
    training = AssignmentTraining(store, registry, runs, threshold=threshold, pause_s=pause_s)
    training.register(handlers, 60)
    limits = AssignmentSettings(feedback_threshold=threshold, meeting_rest_weeks=2, meeting_time_limit_s=20)
    service = AssignmentService(store, limits, LearnedAssignments(registry), training)
    return Office(engine, data_dir, store, runs, registry, training, service)


def facts_of(number: int) -> Facts:
    """Give what is stored of a person."""
    return person(number).facts()
