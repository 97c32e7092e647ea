"""The words of a run: what is asked for, what it is doing, what came of it."""

from __future__ import annotations

import os
import time
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.workflows.model import Workflow


class RunStatus(StrEnum):
    """Where a run is; the last four are ends."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    PAUSED_BUDGET = "paused_budget"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether nothing of the run will change by itself any more."""
        return self in ENDED


ENDED = frozenset({RunStatus.COMPLETED, RunStatus.PARTIAL, RunStatus.FAILED, RunStatus.CANCELLED})


class Priority(StrEnum):
    """Which queues a run's steps go to; drained 6 : 3 : 1 when all are full."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True)
class RunRequest:
    """What is needed to start a run.

    Args:
        kind: one of `API.md` §8's kinds.
        workflow: a parsed document.
        owner: the token's name-space; `local` in open loopback mode.
        max_cost_usd: hard cap; None for none, 0 allows no paid call.
        callback_url: already checked against the allow-list.
        subject: facts of the kind's own, kept with the run.
        queues: queue by the key of a step that must not go where its block's shape says; such a step stands alone in
            its block, since a chain is sent to one queue.
    """

    kind: str
    workflow: Workflow
    owner: str
    priority: Priority = Priority.MEDIUM
    max_cost_usd: Decimal | None = None
    callback_url: str | None = None
    subject: dict[str, Any] = field(default_factory=dict)
    queues: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Send:
    """A step whose message may go out now.

    Args:
        queue: the Celery queue.
        name: what Flower shows, such as `agent:strategist`.
        tail: keys and names of the inline steps that may follow in the same chain.
        chained: the sender's own chain already carries this step.
    """

    run_id: str
    key: str
    queue: str
    name: str
    tail: tuple[tuple[str, str], ...] = ()
    chained: bool = False


@dataclass(frozen=True)
class Event:
    """One line of a run's story; `seq` counts from 1 without gaps within a run."""

    run_id: str
    seq: int
    at: str
    type: str
    step_key: str | None
    data: dict[str, Any] | None


@dataclass(frozen=True)
class Effects:
    """What a transaction of the journal asks to be published after its commit."""

    sends: tuple[Send, ...] = ()
    events: tuple[Event, ...] = ()
    wakes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Started:
    """A run that has been written; `effects` go out after the commit."""

    run_id: str
    status: RunStatus
    effects: Effects = field(default_factory=Effects, repr=False)


CACHED = "cached"
"""Reason of a completed step whose answer was kept from the same question before."""


@dataclass(frozen=True)
class StepView:
    """A step as a reader sees it."""

    key: str
    kind: str
    target: str
    status: str
    model: str | None
    attempts: int
    cost_usd: Decimal
    started_at: datetime | None
    finished_at: datetime | None
    output: Any
    error: dict[str, Any] | None
    output_variable: str | None
    reason: str | None = None
    parent: str | None = None

    @property
    def cached(self) -> bool:
        """Whether it was answered by a kept answer, and cost nothing."""
        return self.status == "completed" and self.reason == CACHED


@dataclass(frozen=True)
class RunView:
    """A run as a reader sees it; `variables` are the document's and every output by its name."""

    run_id: str
    kind: str
    status: RunStatus
    owner: str
    priority: Priority
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    max_cost_usd: Decimal | None
    cost_usd: Decimal
    tokens: int
    error: dict[str, Any] | None
    variables: dict[str, Any]
    steps: tuple[StepView, ...]
    subject: dict[str, Any]
    events: int = 0


def new_run_id() -> str:
    """Make an id whose order is time's (RFC 9562, version 7), so that an index grows at its end."""
    milliseconds = time.time_ns() // 1_000_000
    random_bits = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (2**48 - 1)) << 80 | random_bits
    value = value & ~(0xF << 76) | 7 << 76
    value = value & ~(0x3 << 62) | 2 << 62
    return str(uuid.UUID(int=value))
