"""The studio's use cases: batches, likes, structures, ideas, scores, status."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from app.errors import (
    ConflictError,
    InvalidError,
    NotConfiguredError,
    NotFoundError,
    OverloadedError,
    StepError,
    StepParked,
)
from app.runs.model import Started
from app.studio.agents import MARKS_KEPT, sync_catalogue
from app.studio.cycle import LearningCycles
from app.studio.cycle_document import build_learning_cycle
from app.studio.examples import Logged, gather_logged
from app.studio.importing import read_state_file
from app.studio.making import known_things
from app.studio.model import RATES, SCORES_FRESH, Asked, Listing, Structure
from app.studio.plain_generator import draw_shares
from app.studio.ports import Runs
from app.studio.reading import read_like, read_structures
from app.studio.scoring import Scored, StructureScoring
from app.studio.starter import starter_structures
from app.studio.starting import SCHEDULE_OWNER, BatchStarter, StartedBatch, StartOptions, StudioSetup
from app.studio.store import StudioStore
from app.studio.views import explain_rate, show_batch, show_idea, show_prompt, show_structure, write_time
from app.studio.ways import PRICED, Foreseen, foresee
from app.workflows.model import Task, Workflow

_BIGINT_DIGITS = 18


@dataclass(frozen=True)
class Learning:
    """What the studio learns with."""

    cycles: LearningCycles
    scoring: StructureScoring


class StudioService:
    """The studio's use cases.

    Args:
        store: the database.
        runs: the engine.
        setup: settings, base.
        learning: the cycles, and what scores structures here.
        now: the clock the schedule is judged by, aware.
    """

    def __init__(
        self,
        store: StudioStore,
        runs: Runs,
        setup: StudioSetup,
        learning: Learning,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._setup = setup
        self._cycles = learning.cycles
        self._scoring = learning.scoring
        self._starter = BatchStarter(store, runs, setup, now)

    # --- batches ---

    def plan_daily_batch(self, asked: Asked) -> Workflow:
        """Write the document a daily batch would run, for an estimate; see `BatchStarter`."""
        return self._starter.plan_daily_batch(asked)

    def plan_manual_generation(self, asked: Asked) -> Workflow:
        """Write the document a manual generation would run, for an estimate; see `BatchStarter`."""
        return self._starter.plan_manual_generation(asked)

    def foresee(self, task: Task) -> Foreseen | None:
        """Say what a step of a batch will ask a model; None where it asks nothing."""
        if task.target not in PRICED or not self._setup.ways.asks:
            return None
        return foresee(task, self._setup.ways, self._store.catalogue.count_structures())

    def start_daily_batch(
        self, asked: Asked, options: StartOptions, connection: Connection | None = None
    ) -> StartedBatch:
        """Start the daily batch, or join the one that is under way; see `BatchStarter`."""
        return self._starter.start_daily_batch(asked, options, connection)

    def start_manual_generation(
        self, asked: Asked, options: StartOptions, connection: Connection | None = None
    ) -> StartedBatch:
        """Start a manual generation; see `BatchStarter`."""
        return self._starter.start_manual_generation(asked, options, connection)

    def start_due_batch(self, owner: str = SCHEDULE_OWNER) -> StartedBatch | None:
        """Start the day's batch when it is due; see `BatchStarter`."""
        return self._starter.start_due_batch(owner)

    def may_read_run(self, run_id: str, owner: str) -> bool:
        """Whether somebody started or joined the batch of a run: both may read it."""
        return self._store.batches.may_read(run_id, owner)

    def list_batches(self, page: int = 1, page_size: int = 50) -> Listing:
        """Give a page of batches, newest first."""
        listing = self._store.batches.list_batches(page, page_size)
        return Listing(tuple(show_batch(row) for row in listing.items), listing.total)

    def list_prompts(self, page: int = 1, page_size: int = 50) -> Listing:
        """Give a page of prompts, newest first."""
        listing = self._store.prompts.list_prompts(page, page_size)
        return Listing(tuple(show_prompt(row) for row in listing.items), listing.total)

    # --- likes ---

    def record_like(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """Store a like before answering.

        Args:
            raw: `record_id`, `structure_id`, `image_url`, at least one.

        Raises:
            InvalidError: none of them, or one that cannot be.
        """
        threshold = self._setup.settings.like_threshold
        counted = self._cycles.add_like(read_like(raw))
        left = max(threshold - (counted.likes - counted.at_last_try), 0)
        messages = {
            "recorded": f"Like recorded. {left} until next learning cycle.",
            "threshold_reached": "Threshold reached. Learning cycle triggered.",
            "queued": "Retrain in progress. The like is kept for the next learning cycle.",
            "duplicate": "This like was recorded before and counts once.",
        }
        reached = counted.status == "threshold_reached"
        return {
            "status": counted.status,
            "likes_since_last_retrain": counted.likes,
            "threshold": threshold,
            "threshold_reached": reached,
            "retrain_triggered": reached,
            "message": messages[counted.status],
        }

    def reset_counter(self) -> dict[str, Any]:
        """Set the counter of likes to 0; the likes stay known."""
        self._cycles.reset()
        return {"status": "reset", "likes_since_last_retrain": 0}

    def trigger_retrain(self, options: StartOptions, connection: Connection | None = None) -> Started:
        """Start a learning cycle now, however many likes there are.

        Args:
            options: owner and run options.
            connection: a transaction to take part in; the caller publishes the start after its commit.

        Raises:
            ConflictError: one runs.
        """
        return self._cycles.trigger(options, connection)

    def plan_learning_cycle(self) -> Workflow:
        """Write the document a learning cycle would run, for an estimate."""
        return build_learning_cycle(self._cycles.shape)

    def close_ended_cycle(self) -> bool:
        """Settle a learning cycle whose run is over, and start the next when it is due; beat asks every minute."""
        return self._cycles.close_ended()

    # --- structures ---

    def prepare_catalogue(self) -> int:
        """Put in the starter catalogue where there are no structures and no base that keeps them.

        Returns:
            How many structures were put in.
        """
        return 0 if self._setup.syncs else self._store.catalogue.put_starter(starter_structures())

    def list_structures(self, page: int = 1, page_size: int = 50) -> Listing:
        """Give a page of structures, newest first, with the scores that serve."""
        structures, total = self._store.catalogue.list_structures(page, page_size)
        cached = self._store.scores.cached()
        return Listing(tuple(show_structure(item, cached.scores, cached.model_version) for item in structures), total)

    def get_structure(self, any_id: str) -> dict[str, Any]:
        """Show one structure by its id or record id, with why it scores so and how that changed.

        Raises:
            NotFoundError: there is none.
        """
        item = self._store.catalogue.find_structure(any_id)
        if item is None:
            raise NotFoundError(f"There is no structure {any_id!r}.", code="structure_not_found")
        cached = self._store.scores.cached()
        shown = show_structure(item, cached.scores, cached.model_version)
        history = self._store.scores.history(item.structure_id)
        liked, shown_count = self._store.scores.count_outcomes([item])[item.structure_id]
        return {
            **shown,
            "liked": liked,
            "shown": shown_count,
            "explanation": self._explain(item, shown["score"], shown["model_version"]),
            "history": [
                {"at": write_time(row["at"]), "score": row["score"], "model_version": row["model_version"]}
                for row in history
            ],
        }

    def _explain(self, item: Structure, score: float | None, model_version: str | None) -> list[dict[str, Any]]:
        if score is None:
            return []
        return explain_rate(score) if model_version == RATES else self._scoring.explain(item, model_version)

    def add_structures(self, raw: Sequence[Any]) -> list[dict[str, Any]]:
        """Write structures, all or none; one whose id is known is written over.

        Returns:
            The structures as they are stored, in the order given.

        Raises:
            InvalidError: anything is wrong with any of them.
        """
        items = read_structures(raw)
        try:
            self._store.catalogue.put_structures(items)
        except IntegrityError:
            raise InvalidError(
                "A record_id belongs to another structure.", errors={"structures": ["A record_id is used already."]}
            ) from None
        cached = self._store.scores.cached()
        found = (self._store.catalogue.find_structure(item.structure_id) or item for item in items)
        return [show_structure(item, cached.scores, cached.model_version) for item in found]

    def sync_structures(self) -> dict[str, Any]:
        """Take over the base's structures now.

        Raises:
            NotConfiguredError: there is no base, or it keeps no structures.
            UnavailableError: the base does not answer, or refuses.
        """
        if not self._setup.syncs:
            raise NotConfiguredError(
                "Airtable's structures are not configured; set AIRTABLE_API_KEY, AIRTABLE_BASE_ID and "
                "AIRTABLE_STRUCTURES_TABLE_ID.",
                setting="AIRTABLE_STRUCTURES_TABLE_ID",
            )
        try:
            return sync_catalogue(self._store, self._setup.base)
        except StepParked as parked:
            raise OverloadedError("Airtable's rate is used up.", retry_after_s=parked.delay_s or 30) from None
        except StepError as error:
            raise OverloadedError(error.message, code=error.code, retry_after_s=error.retry_after_s or 30) from None

    # --- ideas ---

    def list_ideas(self, status: str | None = None, page: int = 1, page_size: int = 50) -> Listing:
        """Give a page of ideas, newest first.

        Raises:
            InvalidError: an unknown status.
        """
        if status is not None and status not in {"proposed", "approved", "declined"}:
            raise InvalidError(
                "There is no such status.", errors={"status": ["Must be proposed, approved or declined."]}
            )
        listing = self._store.ideas.list_ideas(status, page, page_size)
        return Listing(tuple(show_idea(row) for row in listing.items), listing.total)

    def decide_idea(self, idea_id: str, decision: Literal["approved", "declined"]) -> dict[str, Any]:
        """Approve or decline an idea, once; an approved one becomes a structure.

        Raises:
            NotFoundError: there is none.
            ConflictError: it was decided before.
        """
        number = int(idea_id) if idea_id.isascii() and idea_id.isdigit() and len(idea_id) <= _BIGINT_DIGITS else 0
        decided = self._store.ideas.decide(number, decision)
        if decided is not None:
            return show_idea(decided)
        known = self._store.ideas.find(number)
        if known is None:
            raise NotFoundError(f"There is no idea {idea_id!r}.", code="idea_not_found")
        raise ConflictError(f"The idea is {known['status']} already.", code="idea_decided")

    # --- scores and state ---

    def scores(self) -> dict[str, Any]:
        """Give the scores that serve."""
        cached = self._store.scores.cached()
        return {
            "scores": cached.scores,
            "cached_at": write_time(cached.cached_at),
            "is_fresh": cached.age_s is not None and cached.age_s < SCORES_FRESH.total_seconds(),
            "count": len(cached.scores),
            "model_version": cached.model_version,
        }

    def log_of_draws(self) -> tuple[list[Logged], dict[str, float]]:
        """Give what was drawn and liked, and with which probability each structure would be drawn now."""
        structures = self._store.catalogue.all_structures()
        logged = gather_logged(structures, self._store.examples.shown(), self._store.examples.liked())
        return logged, draw_shares(known_things(self._store), self._setup.settings.exploration_rate)

    def score_structures(self) -> Scored:
        """Score every structure now with what serves, such as after a rollback."""
        return self._scoring.score_all(None)

    def health(self) -> dict[str, Any]:
        """Give the studio's part of `/health`."""
        self._cycles.close_ended()
        row = self._store.state.read()
        return {
            "likes_since_last_retrain": row["likes_since_last_retrain"],
            "threshold": self._setup.settings.like_threshold,
            "is_retraining": row["cycle_run_id"] is not None,
            "total_batches": row["total_batches"],
            "total_generations": row["total_generations"],
        }

    def status(self) -> dict[str, Any]:
        """Give everything `GET /status` shows."""
        self._cycles.close_ended()
        row = self._store.state.read()
        return {
            "service": "batuta",
            "version": self._setup.version,
            "threshold": self._setup.settings.like_threshold,
            "exploration_rate": self._setup.settings.exploration_rate,
            "likes_since_last_retrain": row["likes_since_last_retrain"],
            "last_retrain_at": write_time(row["last_retrain_at"]),
            "last_like_at": write_time(row["last_like_at"]),
            "total_retrains": row["total_retrains"],
            "total_likes_processed": row["total_likes_processed"],
            "is_retraining": row["cycle_run_id"] is not None,
            "last_error": row["last_error"],
            "last_batch_at": write_time(row["last_batch_at"]),
            "total_batches": row["total_batches"],
            "last_batch_result": row["last_batch_result"],
            "last_generation_at": write_time(row["last_generation_at"]),
            "total_generations": row["total_generations"],
            "last_generation_result": row["last_generation_result"],
            "cached_structure_scores": row["cached_scores"],
            "cached_scores_count": len(row["cached_scores"]),
            "scores_cached_at": write_time(row["scores_cached_at"]),
            "last_cycle": row["last_cycle"],
        }

    def import_state(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Take over the counters of the original's state file, in place of ours.

        Args:
            content: the file's object; keys that older versions lack count as 0 or nothing.

        Returns:
            What was taken over.

        Raises:
            InvalidError: a value is of the wrong kind.
        """
        values = read_state_file(content)
        with self._store.engine.begin() as connection:
            self._cycles.forget_counter(connection)
            self._store.state.overwrite(values, connection)
        return {name: write_time(value) if isinstance(value, datetime) else value for name, value in values.items()}

    def tidy(self, age: timedelta = MARKS_KEPT) -> int:
        """Drop marks and claims on words that are past any use; for housekeeping."""
        return self._store.marks.forget_older_than(age)
