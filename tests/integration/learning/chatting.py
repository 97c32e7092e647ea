"""Chats that follow a rule, as rows of the database, and what learns from them."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa

from app.chat.lessons import PgChatLessons
from app.chat.tables import chat_turns
from app.learning.artifacts import FOLDER, ArtifactFolder
from app.learning.category import CategoryLearner, CategoryLessons
from app.learning.lesson_training import Course, LessonTraining
from app.learning.model import Trained, TrainingRows, Version
from app.learning.ports import Scorer
from app.learning.route import RouteLearner, RouteLessons
from app.learning.service import ScorerRegistry
from app.learning.store import PgVersions
from app.runs.model import RunView
from app.runs.ports import HandlerCatalog
from app.settings import Settings
from tests.integration.studio.inline_runs import InlineRuns

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SUBJECTS = ("the harvest", "our budget", "old bridges", "my garden", "this engine", "the river", "bread", "winter")
# None of these words is in the plain rules: only who learns can tell them apart.
SAID = {
    "L": ("Weigh every side of", "Reason carefully through", "Work out precisely"),
    "M": ("What is known of", "Tell me briefly of", "Who first spoke of"),
    "H": ("Prepare all the material for", "Set up everything around", "Produce the whole package for"),
}


def message(letter: str, rng: random.Random) -> str:
    """Write a message whose words tell its letter."""
    return f"{rng.choice(SAID[letter])} {rng.choice(SUBJECTS)} and {rng.choice(SUBJECTS)}, {rng.randint(1, 99)} times"


def sorted_turns(count: int, *, seed: int = 1, letters: str = "LMH", at: datetime = BEGAN) -> list[dict[str, Any]]:
    """Make turns whose letter the categoriser model said."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        letter = letters[number % len(letters)]
        rows.append(turn(message(letter, rng), letter, at + timedelta(minutes=number), sorted_by="model"))
    return rows


def turn(text: str, category: str, at: datetime, **columns: Any) -> dict[str, Any]:
    """Make a row of an answered message."""
    return {
        "run_id": str(uuid.uuid4()),
        "owner": "ann",
        "position": 1,
        "asked": {"message": text},
        "holdout": False,
        "streams": False,
        "created_at": at,
        "answered_at": at,
        "category": category,
        "model": "medium_ai" if category == "M" else "thinking_ai",
        "sorted_by": None,
        "moved_from": None,
        "held_from": None,
        "good": None,
        "judged_at": None,
        "cost_usd": 0,
        "saved_usd": 0,
        **columns,
    }


class DiligentLearner(CategoryLearner):
    """Learns the same rows once a session: what comes of them is always the same, and takes seconds."""

    learned: ClassVar[dict[int, Trained]] = {}

    def train(self, data: TrainingRows, running: Scorer | None, *, seed: int = 0) -> Trained:
        key = hash((tuple(data.columns["message"]), tuple(data.columns["letter"]), running is None, seed))
        if key not in self.learned:
            self.learned[key] = super().train(data, running, seed=seed)
        return self.learned[key]


@dataclass
class School:
    """What learns from chats, on an engine in one thread."""

    engine: sa.Engine
    data_dir: Path
    runs: InlineRuns
    registry: ScorerRegistry
    lessons: PgChatLessons
    categories: LessonTraining
    routes: LessonTraining

    def hear(self, rows: list[dict[str, Any]]) -> None:
        """Write turns down as if they had been answered."""
        with self.engine.begin() as connection:
            connection.execute(chat_turns.insert(), rows)

    def train(self, training: LessonTraining) -> RunView:
        """Start the training that is due, and run it to its end."""
        assert training.start_due()
        return self.runs.finish_run(self.runs.published[-1])

    def artifact(self, version: Version) -> Path:
        return self.data_dir / FOLDER / version.artifact


def make_school(settings: Settings, engine: sa.Engine, *, fewest: int = 200, threshold: int = 200) -> School:
    """Build one; every call on the same database and folder is another process."""
    data_dir = settings.storage.data_dir
    registry = ScorerRegistry(PgVersions(engine), ArtifactFolder(data_dir), [DiligentLearner(), RouteLearner()])
    handlers = HandlerCatalog()
    runs = InlineRuns(handlers)
    lessons = PgChatLessons(engine)
    course = Course("category", fewest, threshold)
    categories = LessonTraining(course, CategoryLessons(lessons), registry, lambda: runs)
    routes = LessonTraining(Course("route", 300, 50), RouteLessons(lessons), registry, lambda: runs)
    for training in (categories, routes):
        training.register(handlers, 60)
    return School(engine, data_dir, runs, registry, lessons, categories, routes)
