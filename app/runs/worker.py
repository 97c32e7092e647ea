"""Everything a worker process keeps going besides Celery: the loop its steps run on, journal, lease, recovery."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.runs.journal import JournalWriter
from app.runs.lease import Owned, ProcessLease
from app.runs.recovery import Recovery
from app.runs.retry import STANDARD, Policy
from app.runs.runner import RunnerParts, StepRunner
from app.runs.threads import HandlerThreads

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any

    import redis

    from app.runs.ledger import DayCaps
    from app.runs.outbox import CallbackDelivery
    from app.runs.ports import FailureExplainer, HandlerCatalog, ModelSteps, QueueDepths, StepReader
    from app.runs.publishing import EffectPublisher
    from app.settings import EngineSettings

logger = logging.getLogger(__name__)

# Below the supervisor's and a container's grace; what has not finished by then is done again elsewhere.
SHUTDOWN_GRACE_S = 20.0
COMPANION_END_S = 3.0


@dataclass(frozen=True)
class WorkerParts:
    """What a worker is composed of.

    Args:
        dsn: libpq address for the worker's own connections.
        process_id: this incarnation.
        role: for people, such as `io`.
        make_publisher: takes how a wake is written, gives the publisher.
        policy: tries and waits by error class.
        companion: takes the process's id and the journal, gives work that goes on beside the steps.
    """

    dsn: str
    process_id: str
    role: str
    engine: EngineSettings
    client: redis.Redis
    catalog: HandlerCatalog
    models: ModelSteps | None
    caps: DayCaps
    reader: StepReader
    depths: QueueDepths
    make_publisher: Callable[[Callable[[str, str], None]], EffectPublisher]
    callbacks: CallbackDelivery
    explainer: FailureExplainer | None = None
    policy: Policy = STANDARD
    companion: Callable[[str, JournalWriter], Coroutine[Any, Any, None]] | None = None


class StepWorker:
    """Run steps in this process until closed."""

    def __init__(self, parts: WorkerParts) -> None:
        self._parts = parts
        engine = parts.engine
        self.publisher = parts.make_publisher(self._wake)
        self.journal = JournalWriter(
            parts.dsn, process_id=parts.process_id, lease_s=engine.lease_s, publish=self.publisher.publish_soon
        )
        self._lease = ProcessLease(
            parts.dsn,
            process_id=parts.process_id,
            role=parts.role,
            lease_s=engine.lease_s,
            on_renewed=self._look_after,
        )
        self._recovery = Recovery(
            parts.dsn,
            client=parts.client,
            depths=parts.depths,
            engine=engine,
            publish=self.publisher.publish_soon,
        )
        self._threads = HandlerThreads(engine.worker_threads)
        self.runner = StepRunner(
            RunnerParts(
                self.journal,
                parts.catalog,
                parts.models,
                self._threads,
                parts.reader,
                engine.step_timeout_s,
                parts.caps,
                parts.explainer,
                parts.policy,
            )
        )
        self.loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[bool]] = set()
        self._companion: asyncio.Task[None] | None = None
        self._thread = threading.Thread(target=self._run_loop, name="steps", daemon=True)

    def start(self) -> None:
        """Start the threads; the lease is held before the first claim."""
        self._thread.start()
        self.journal.start()
        self.publisher.start()
        self._lease.start()
        self._recovery.start()
        self._parts.callbacks.start()
        if self._parts.companion is not None:
            work = self._parts.companion(self._parts.process_id, self.journal)
            self.loop.call_soon_threadsafe(self._accompany, work)

    def _accompany(self, work: Coroutine[Any, Any, None]) -> None:
        self._companion = self.loop.create_task(work)

    async def _part(self) -> None:
        """End what goes on beside the steps: destroyed while it waits, it would be complained about at every end."""
        if self._companion is not None:
            self._companion.cancel()
            await asyncio.wait([self._companion])

    def submit(
        self,
        work: Callable[..., Coroutine[Any, Any, bool]],
        arguments: tuple[Any, ...],
        when_done: Callable[[asyncio.Task[bool]], None],
    ) -> None:
        """Run a coroutine function on the worker's loop, from any thread; `when_done` is called on the loop."""
        self.loop.call_soon_threadsafe(self._begin, work, arguments, when_done)

    def _begin(self, work: Any, arguments: tuple[Any, ...], when_done: Any) -> None:
        task = self.loop.create_task(work(*arguments))
        self._tasks.add(task)  # the loop itself keeps only a weak reference
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(when_done)

    def drain(self, grace_s: float = SHUTDOWN_GRACE_S) -> None:
        """Let running steps finish for a while, then give back what has not. Nothing new may be submitted any more."""
        ends_at = time.monotonic() + grace_s
        while self.runner.in_hand and time.monotonic() < ends_at:
            time.sleep(0.05)
        if self.runner.in_hand:
            logger.info("handing back %d steps", self.runner.in_hand)
            self.loop.call_soon_threadsafe(self.runner.hand_back_all)
        ends_at = time.monotonic() + 3
        while self.runner.in_hand and time.monotonic() < ends_at:
            time.sleep(0.02)

    def close(self) -> None:
        """Write and publish what is left, give the lease up, stop the threads."""
        if self._parts.companion is not None:  # first: it writes to the journal
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(self._part(), self.loop).result(COMPANION_END_S)
        self._parts.callbacks.close()
        self._recovery.close()
        self.journal.close()
        self.publisher.close()
        self._lease.close()
        self._threads.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        if not self._thread.is_alive():
            self.loop.close()

    def _run_loop(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def _wake(self, run_id: str, key: str) -> None:
        self.journal.write_soon({"op": "wake", "run": run_id, "key": key})

    def _look_after(self, owned: list[Owned]) -> None:
        self.loop.call_soon_threadsafe(self.runner.look_after, owned)
