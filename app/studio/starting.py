"""Start batches: by hand, by schedule, and by joining the one that is under way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection

from app.errors import OverloadedError
from app.runs.model import Priority, RunRequest, RunStatus, Started
from app.settings import ScheduleSettings, StudioSettings
from app.studio.batch import MODEL_SIDE_BY_SIDE, SIDE_BY_SIDE, BatchShape, build_daily_batch, build_manual_generation
from app.studio.model import Asked, Numbers, SettingsRecord, check_asked, resolve_numbers
from app.studio.ports import Runs, StudioBase
from app.studio.schedule import due_firing, next_try
from app.studio.store import StudioStore
from app.studio.store.batches import BatchClaim
from app.studio.ways import NO_MODELS, ModelWays
from app.workflows.model import Latency, Workflow

MANUAL_PROMPTS = 12
JOIN_TRIES = 5  # an active batch may end between "there is one" and "which one?"
SCHEDULE_OWNER = "local"
_ASIDE = {RunStatus.PAUSED, RunStatus.PAUSED_BUDGET, RunStatus.WAITING}


@dataclass(frozen=True)
class StartOptions:
    """What every POST that starts a run may say beside its own fields."""

    owner: str
    priority: Priority = Priority.MEDIUM
    max_cost_usd: Decimal | None = None
    callback_url: str | None = None


@dataclass(frozen=True)
class StartedBatch:
    """A batch's run; `joined` when it was under way already, `started` then publishes nothing."""

    started: Started
    joined: bool = False

    @property
    def run_id(self) -> str:
        """The run."""
        return self.started.run_id


@dataclass(frozen=True)
class StudioSetup:
    """What the service needs to know of the installation beside its stores.

    Args:
        base: Airtable; None without.
        version: ours, for `/status`.
        remote_generator: the Generator is a service that may be asleep.
        ways: what models make.
    """

    settings: StudioSettings
    schedule: ScheduleSettings
    base: StudioBase | None = None
    version: str = ""
    remote_generator: bool = False
    ways: ModelWays = NO_MODELS

    @property
    def syncs(self) -> bool:
        """Whether the base keeps the structures."""
        return self.base is not None and self.base.has_structures

    def shape(self, latency: Latency = "live") -> BatchShape:
        """Say what a batch looks like here."""
        waits = self.ways.asks and latency == "batch"
        return BatchShape(
            syncs=self.syncs,
            warms_up=self.remote_generator,
            warms_cache=self.ways.caches,
            side_by_side=self._side_by_side(waits=waits),
            latency="batch" if waits else "live",
        )

    def _side_by_side(self, *, waits: bool) -> int | None:
        if not self.ways.prompts:
            return SIDE_BY_SIDE
        # What waits for a vendor's batch must be asked together, or each lot waits for the one before.
        return None if waits else MODEL_SIDE_BY_SIDE

    def foresee(self, asked: Asked) -> BatchShape:
        """Say the same for an estimate, with the numbers a batch would have; a settings record is not read for that."""
        settings = self.settings
        defaults = Numbers(settings.default_batch_ideas, settings.default_num_prompts, settings.default_renderer)
        numbers, _ = resolve_numbers(asked, SettingsRecord(), defaults)
        return replace(self.shape(), foreseen=numbers)


class BatchStarter:
    """Starts batches.

    Args:
        store: the database.
        runs: the engine.
        setup: settings, base.
        now: the clock the schedule is judged by, aware.
    """

    def __init__(self, store: StudioStore, runs: Runs, setup: StudioSetup, now: Callable[[], datetime]) -> None:
        self._store = store
        self._runs = runs
        self._setup = setup
        self._now = now

    def plan_daily_batch(self, asked: Asked) -> Workflow:
        """Write the document a daily batch would run, for an estimate.

        Raises:
            InvalidError: numbers out of range.
        """
        checked = check_asked(asked)
        return build_daily_batch(checked, self._setup.foresee(checked))

    def plan_manual_generation(self, asked: Asked) -> Workflow:
        """Write the document a manual generation would run; 12 prompts when the request says nothing.

        Raises:
            InvalidError: numbers out of range.
        """
        counted = _count_manual(asked)
        return build_manual_generation(counted, self._setup.foresee(counted))

    def start_daily_batch(
        self, asked: Asked, options: StartOptions, connection: Connection | None = None
    ) -> StartedBatch:
        """Start the daily batch, or join the one that is under way.

        Args:
            asked: the request's numbers; a joiner's do not matter.
            options: owner and run options.
            connection: a transaction to take part in; the caller publishes `started` after its commit.

        Raises:
            InvalidError: numbers out of range.
            OverloadedError: batches came and went faster than one could be joined.
        """
        request = self._request("daily_batch", build_daily_batch(check_asked(asked), self._setup.shape()), options)
        claim = BatchClaim("daily", options.owner, asked.to_json())
        return self._start(request, claim, connection)

    def start_manual_generation(
        self, asked: Asked, options: StartOptions, connection: Connection | None = None
    ) -> StartedBatch:
        """Start a manual generation; each call is one of its own.

        Raises:
            InvalidError: numbers out of range.
        """
        workflow = build_manual_generation(_count_manual(asked), self._setup.shape())
        request = self._request("manual_generation", workflow, options)
        return self._start(request, BatchClaim("manual", options.owner, asked.to_json()), connection)

    def start_due_batch(self, owner: str = SCHEDULE_OWNER) -> StartedBatch | None:
        """Start the day's batch when it is due; safe however many beats ask, and as often as they like.

        Nobody waits for it, so its questions to models may go to vendors' batches (`STUDIO_LATENCY`).

        Returns:
            The batch that was started or joined; None when nothing is due.
        """
        now, schedule = self._now(), self._setup.schedule
        if not schedule.batch_cron:
            return None
        firing = due_firing(now, schedule.batch_cron, schedule.timezone, schedule.batch_catch_up_h)
        if firing is None:
            return None
        tried = self._store.batches.tries_for(firing)
        if tried.active:
            self._release_idle()
            tried = self._store.batches.tries_for(firing)
        number = next_try(now, tried)
        if number is None:
            return None
        asked = Asked()
        workflow = build_daily_batch(asked, self._setup.shape(self._setup.settings.latency))
        request = self._request("daily_batch", workflow, StartOptions(owner))
        claim = BatchClaim("daily", owner, asked.to_json(), firing, number)
        try:
            return self._start(request, claim, None)
        except OverloadedError:
            return None  # another beat has made this very try, and it has ended already

    def _request(self, kind: str, workflow: Workflow, options: StartOptions) -> RunRequest:
        return RunRequest(
            kind=kind,
            workflow=workflow,
            owner=options.owner,
            priority=options.priority,
            max_cost_usd=options.max_cost_usd,
            callback_url=options.callback_url,
        )

    def _start(self, request: RunRequest, claim: BatchClaim, connection: Connection | None) -> StartedBatch:
        if connection is not None:
            return self._start_or_join(connection, request, claim)
        with self._store.engine.begin() as own:
            batch = self._start_or_join(own, request, claim)
        if not batch.joined:
            self._runs.publish(batch.started)
        return batch

    def _start_or_join(self, connection: Connection, request: RunRequest, claim: BatchClaim) -> StartedBatch:
        for _ in range(JOIN_TRIES):
            batch_id = self._store.batches.claim(connection, claim)
            if batch_id is not None:
                started = self._runs.start_run(request, connection)
                self._store.batches.bind(connection, batch_id, started.run_id)
                return StartedBatch(started)
            active = self._store.batches.active_run(connection)
            if active is None:
                continue
            status = self._settle_idle(connection, active)
            if status is not None:
                self._store.batches.join(connection, active, claim.owner)
                return StartedBatch(Started(active, status), joined=True)
        raise OverloadedError("The daily batch could not be started or joined; try again.", retry_after_s=1)

    def _release_idle(self) -> None:
        with self._store.engine.begin() as connection:
            active = self._store.batches.active_run(connection)
            if active is not None:
                self._settle_idle(connection, active)

    def _settle_idle(self, connection: Connection, run_id: str) -> RunStatus | None:
        """Take the active place from a batch whose run is paused, or ended before its report.

        Returns:
            The run's status while it is truly under way; None when its place is free now.
        """
        # On the caller's connection: callers who each wait for a second one wait for each other.
        status = self._runs.status_in(connection, run_id) or RunStatus.FAILED
        if status in _ASIDE:
            self._store.batches.step_aside(connection, run_id, "paused")
            return None
        if status.ended:
            self._store.batches.step_aside(connection, run_id, "ended")
            return None
        return status


def _count_manual(asked: Asked) -> Asked:
    checked = check_asked(asked, fewest_prompts=1)
    count = MANUAL_PROMPTS if checked.num_prompts is None else checked.num_prompts
    return Asked(checked.force_retrain, 0, count, checked.renderer)
