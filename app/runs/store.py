"""Reads of the journal, and the commands people give; workers write through `app/runs/journal.py`."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from app.runs import tables
from app.runs.effects import read_effects
from app.runs.model import Effects, Event, Priority, RunStatus, RunView, StepView
from app.runs.ports import StepSummary
from app.runs.text import cleaned_json

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Engine, Row

SUBMIT = sa.text(
    "select status, effects from batuta_submit(cast(:run as jsonb), cast(:blocks as jsonb), cast(:steps as jsonb))"
)
COMMAND = sa.text("select status, effects from batuta_command(cast(:run as uuid), :command, cast(:op as jsonb))")


@dataclass(frozen=True)
class RunFilter:
    """Which runs a list shows; None means any."""

    owner: str | None = None
    kind: str | None = None
    status: str | None = None
    since: datetime | None = None


class PgRunStore:
    """The journal as its readers and commanders see it.

    Args:
        engine: the process's pool.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    def submit(
        self, connection: Connection, rows: tuple[dict[str, Any], list[Any], list[Any]]
    ) -> tuple[RunStatus, Effects]:
        """Write a new run in the caller's transaction."""
        run, blocks, steps = (cleaned_json(part) for part in rows)
        row = connection.execute(SUBMIT, {"run": run, "blocks": blocks, "steps": steps}).one()
        return RunStatus(row.status), read_effects(row.effects)

    def command(
        self, connection: Connection, run_id: str, command: str, op: dict[str, Any]
    ) -> tuple[RunStatus | None, Effects]:
        """Carry out a person's command in the caller's transaction.

        Returns:
            The run's status afterwards, or None when its state did not allow the command, and nothing was changed.
        """
        row = connection.execute(COMMAND, {"run": run_id, "command": command, "op": cleaned_json(op)}).one()
        if row.status is None:
            return None, Effects()
        return RunStatus(row.status), read_effects(row.effects)

    def count_queued(self, most: int, connection: Connection | None = None) -> int:
        """Count the runs that wait for a place; counting stops at `most`."""
        queued = sa.select(sa.literal(1)).where(tables.runs.c.status == "queued").limit(most).subquery()
        with nullcontext(connection) if connection is not None else self.engine.connect() as own:
            return own.execute(sa.select(sa.func.count()).select_from(queued)).scalar_one()

    def owner_of(self, connection: Connection, run_id: str) -> str | None:
        """Name a run's owner, or None when there is no such run."""
        return connection.execute(sa.select(tables.runs.c.owner).where(tables.runs.c.run_id == run_id)).scalar()

    def status_of(self, run_ids: list[str]) -> dict[str, RunStatus]:
        """Look up where runs are, many in one statement."""
        with self.engine.connect() as connection:
            rows = connection.execute(
                sa.select(tables.runs.c.run_id, tables.runs.c.status).where(tables.runs.c.run_id.in_(run_ids))
            )
            return {row.run_id: RunStatus(row.status) for row in rows}

    def read_with_step(self, run_id: str, key: str) -> RunView | None:
        """Read a run with one of its steps alone and without variables, in one statement; for who waits for it."""
        with self.engine.connect() as connection:
            run = connection.execute(_WITH_STEP, {"run": run_id, "key": key}).one_or_none()
        if run is None:
            return None
        return _run_view(run, {}, () if run.step is None else (_step_from_json(run.step),))

    def status_in(self, connection: Connection, run_id: str) -> RunStatus | None:
        """Look up where a run is, as a caller's transaction sees it."""
        query = sa.select(tables.runs.c.status).where(tables.runs.c.run_id == run_id)
        status = connection.execute(query).scalar_one_or_none()
        return None if status is None else RunStatus(status)

    def read_run(self, run_id: str) -> RunView | None:
        """Read a run with its steps and variables, all of one moment."""
        with self.engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection:
            run = connection.execute(sa.select(tables.runs).where(tables.runs.c.run_id == run_id)).one_or_none()
            if run is None:
                return None
            variables = connection.execute(
                sa.select(tables.run_inputs.c.variables).where(tables.run_inputs.c.run_id == run_id)
            ).scalar_one()
            rows = connection.execute(
                sa.select(*_STEP_COLUMNS)
                .where(tables.steps.c.run_id == run_id)
                .order_by(tables.steps.c.block, tables.steps.c.position, tables.steps.c.item.nulls_first())
            ).all()
        return _run_view(run, variables, tuple(_step_view(row) for row in rows))

    def read_steps(self, run_id: str) -> list[StepSummary]:
        """List a run's steps in journal order, without items' details."""
        query = (
            sa.select(*_STEP_COLUMNS)
            .where(tables.steps.c.run_id == run_id)
            .order_by(tables.steps.c.block, tables.steps.c.position, tables.steps.c.item.nulls_first())
        )
        with self.engine.connect() as connection:
            return [
                StepSummary(row.key, row.kind, row.target, row.status, row.output, row.error, row.reason, row.parent)
                for row in connection.execute(query)
            ]

    def list_runs(self, wanted: RunFilter, *, page: int, page_size: int) -> tuple[list[RunView], int]:
        """List runs without steps, newest first, and count them all."""
        where = _conditions(wanted)
        query = (
            sa.select(tables.runs)
            .where(*where)
            .order_by(tables.runs.c.created_at.desc(), tables.runs.c.run_id.desc())
            .limit(page_size)
            .offset((page - 1) * page_size)
        )
        with self.engine.connect() as connection:
            rows = connection.execute(query).all()
            total = connection.execute(sa.select(sa.func.count()).select_from(tables.runs).where(*where)).scalar_one()
        return [_run_view(row, {}, ()) for row in rows], total

    def read_events(self, run_id: str, after: int, limit: int) -> list[Event]:
        """Read a run's events after a number, in order."""
        columns = tables.events.c
        query = (
            sa.select(tables.events)
            .where(columns.run_id == run_id, columns.seq > after)
            .order_by(columns.seq)
            .limit(limit)
        )
        with self.engine.connect() as connection:
            return [
                Event(row.run_id, row.seq, row.at.isoformat(), row.type, row.step_key, row.data)
                for row in connection.execute(query)
            ]


_STEP_COLUMNS = (
    tables.steps.c.key,
    tables.steps.c.kind,
    tables.steps.c.target,
    tables.steps.c.status,
    tables.steps.c.reason,
    tables.steps.c.parent,
    tables.steps.c.model,
    tables.steps.c.attempts,
    tables.steps.c.cost_usd,
    tables.steps.c.started_at,
    tables.steps.c.finished_at,
    tables.steps.c.output,
    tables.steps.c.error,
    tables.steps.c.output_variable,
)


_ONE_STEP = (
    sa.select(*_STEP_COLUMNS)
    .where(tables.steps.c.run_id == sa.bindparam("run"), tables.steps.c.key == sa.bindparam("key"))
    .subquery("s")
)
# Built once: every wait reads it several times.
_WITH_STEP = sa.select(
    tables.runs,
    sa.select(sa.func.to_jsonb(sa.literal_column("s"))).select_from(_ONE_STEP).scalar_subquery().label("step"),
).where(tables.runs.c.run_id == sa.bindparam("run"))


def _conditions(wanted: RunFilter) -> list[sa.ColumnElement[bool]]:
    columns = tables.runs.c
    conditions = []
    if wanted.owner is not None:
        conditions.append(columns.owner == wanted.owner)
    if wanted.kind is not None:
        conditions.append(columns.kind == wanted.kind)
    if wanted.status is not None:
        conditions.append(columns.status == wanted.status)
    if wanted.since is not None:
        conditions.append(columns.created_at >= wanted.since)
    return conditions


def _step_view(row: Any) -> StepView:
    return StepView(
        key=row.key,
        kind=row.kind,
        target=row.target,
        status=row.status,
        model=row.model,
        attempts=row.attempts,
        cost_usd=row.cost_usd,
        started_at=row.started_at,
        finished_at=row.finished_at,
        output=row.output,
        error=row.error,
        output_variable=row.output_variable,
        reason=row.reason,
        parent=row.parent,
    )


def _step_from_json(raw: dict[str, Any]) -> StepView:
    times = {
        name: None if raw[name] is None else datetime.fromisoformat(raw[name]) for name in ("started_at", "finished_at")
    }
    return _step_view(SimpleNamespace(**{**raw, **times, "cost_usd": Decimal(str(raw["cost_usd"]))}))


def _run_view(row: Row[Any], variables: dict[str, Any], steps: tuple[StepView, ...]) -> RunView:
    values = dict(variables)
    # Journal order, so that what comes later in the document wins.
    for step in steps:
        if step.output_variable and step.parent is None and (step.status == "completed" or step.reason == "when"):
            values[step.output_variable] = step.output
    return RunView(
        run_id=row.run_id,
        kind=row.kind,
        status=RunStatus(row.status),
        owner=row.owner,
        priority=Priority(row.priority),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        max_cost_usd=row.max_cost_usd,
        cost_usd=row.spent_usd,
        tokens=row.tokens,
        error=row.error,
        variables=values,
        steps=steps,
        subject=row.subject,
        events=row.event_seq,
    )
