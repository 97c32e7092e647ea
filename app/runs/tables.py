"""The journal's tables. `app/runs/sql/*.sql` holds the functions that change them; nothing else writes here.

What changes often (`runs`, `blocks`) is kept narrow and apart from what never changes (`run_inputs`),
so that a counter's update copies two hundred bytes and not a document.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, TIMESTAMP, UUID

from app.database import metadata

Instant = TIMESTAMP(timezone=True)
Dollars = sa.Numeric(16, 6)
NOW = sa.text("clock_timestamp()")
EMPTY_OBJECT = sa.text("'{}'::jsonb")
EMPTY_NAMES = sa.text("'{}'::text[]")


def _counter(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, server_default="0")


def _dollars(name: str) -> sa.Column[object]:
    return sa.Column(name, Dollars, nullable=False, server_default="0")


def _run_id(*, primary: bool = False) -> sa.Column[object]:
    return sa.Column(
        "run_id",
        UUID(as_uuid=False),
        sa.ForeignKey("runs.run_id", ondelete="CASCADE"),
        primary_key=primary,
        nullable=False,
    )


runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", UUID(as_uuid=False), primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("pause_reason", sa.Text),
    sa.Column("priority", sa.Text, nullable=False),
    sa.Column("subject", JSONB, nullable=False, server_default=EMPTY_OBJECT),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
    sa.Column("started_at", Instant),
    sa.Column("finished_at", Instant),
    sa.Column("max_cost_usd", Dollars),
    _dollars("spent_usd"),
    _dollars("reserved_usd"),
    sa.Column("tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("cancel_requested", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("callback_url", sa.Text),
    sa.Column("error", JSONB),
    _counter("event_seq"),
    _counter("block_index"),
    _counter("block_count"),
    _counter("completed_steps"),
    _counter("failed_steps"),
    _counter("waiting_steps"),
    sa.Column("origin", JSONB(none_as_null=True), comment="the request it comes from, and its traceparent"),
    sa.Column("output_chars", sa.BigInteger, nullable=False, server_default="0", comment="of all its steps' outputs"),
    sa.Index("ix_runs_created", "created_at"),
    sa.Index("ix_runs_owner_created", "owner", "created_at"),
    sa.Index("ix_runs_queued", "priority", "created_at", postgresql_where=sa.text("status = 'queued'")),
    sa.Index("ix_runs_finished", "finished_at", postgresql_where=sa.text("finished_at is not null")),
    postgresql_with={"fillfactor": "70"},
)

run_inputs = sa.Table(
    "run_inputs",
    metadata,
    _run_id(primary=True),
    sa.Column("document", JSONB, nullable=False),
    sa.Column("variables", JSONB, nullable=False),
)

blocks = sa.Table(
    "blocks",
    metadata,
    _run_id(primary=True),
    sa.Column("block", sa.Integer, primary_key=True),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("latency", sa.Text, nullable=False, server_default="live"),
    sa.Column("status", sa.Text, nullable=False, server_default="pending"),
    sa.Column("remaining", sa.Integer, nullable=False),
    sa.Column("places", sa.Integer, nullable=False, comment="steps that may be sent or running at once"),
    _counter("taken"),
    postgresql_with={"fillfactor": "70"},
)

steps = sa.Table(
    "steps",
    metadata,
    _run_id(primary=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("block", sa.Integer, nullable=False),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("parent", sa.Text),
    sa.Column("item", sa.Integer),
    sa.Column("item_value", JSONB),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("task", JSONB, nullable=False),
    sa.Column("reads", ARRAY(sa.Text), nullable=False, server_default=EMPTY_NAMES),
    sa.Column("ancestors", ARRAY(sa.Text), nullable=False, server_default=EMPTY_NAMES),
    sa.Column("dependents", ARRAY(sa.Text), nullable=False, server_default=EMPTY_NAMES),
    _counter("deps_left"),
    sa.Column("output_variable", sa.Text),
    sa.Column("queue", sa.Text, nullable=False),
    sa.Column("slots", ARRAY(sa.Text), nullable=False, server_default=EMPTY_NAMES),
    sa.Column("status", sa.Text, nullable=False, server_default="pending"),
    sa.Column("reason", sa.Text),
    sa.Column("doomed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("placed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("owner", UUID(as_uuid=False)),
    _counter("fence"),
    sa.Column("claim", sa.Text),
    _counter("attempts"),
    _counter("crashes"),
    sa.Column("tries", JSONB, nullable=False, server_default=EMPTY_OBJECT),
    sa.Column("not_before", Instant),
    sa.Column("enqueued_at", Instant),
    _counter("resends"),
    sa.Column("rendered", JSONB),
    sa.Column("output", JSONB),
    sa.Column("error", JSONB),
    sa.Column("model", sa.Text),
    _dollars("cost_usd"),
    sa.Column("tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("started_at", Instant),
    sa.Column("finished_at", Instant),
    sa.Index("ix_steps_running", "owner", postgresql_where=sa.text("status = 'running'")),
    sa.Index("ix_steps_ready", "enqueued_at", postgresql_where=sa.text("status = 'ready' and placed")),
    # What a finish looks for: the next in order, without a look at the thousand others of its block.
    sa.Index(
        "ix_steps_next",
        "run_id",
        "block",
        "position",
        "item",
        postgresql_where=sa.text("status = 'ready' and not placed"),
    ),
    sa.Index("ix_steps_parked", "not_before", postgresql_where=sa.text("status = 'parked'")),
    postgresql_with={"fillfactor": "60"},
)

events = sa.Table(
    "events",
    metadata,
    _run_id(primary=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("at", Instant, nullable=False, server_default=NOW),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("step_key", sa.Text),
    sa.Column("data", JSONB),
)

processes = sa.Table(
    "processes",
    metadata,
    sa.Column("process_id", UUID(as_uuid=False), primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("started_at", Instant, nullable=False, server_default=NOW),
    sa.Column("expires_at", Instant, nullable=False),
    sa.Index("ix_processes_expires_at", "expires_at"),
)

calls = sa.Table(
    "calls",
    metadata,
    sa.Column("call_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    # No foreign key: the ledger outlives the runs it paid for.
    sa.Column("run_id", UUID(as_uuid=False), nullable=False),
    sa.Column("step_key", sa.Text, nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column(
        "part", sa.Integer, nullable=False, server_default="0", comment="which of the step's questions this asks"
    ),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False, comment="the run's kind"),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("agent", sa.Text, nullable=False, server_default=""),
    sa.Column("status", sa.Text, nullable=False, comment="sent answered rejected failed unknown"),
    sa.Column("request", JSONB, nullable=False),
    sa.Column("response", JSONB),
    sa.Column("error", JSONB),
    sa.Column("vendor_job_id", sa.Text),
    *(
        sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
        for name in (
            "input_tokens",
            "output_tokens",
            "cache_read_tokens",
            "cache_write_5m_tokens",
            "cache_write_1h_tokens",
        )
    ),
    sa.Column("estimate_usd", Dollars, nullable=False),
    sa.Column("cost_usd", Dollars),
    sa.Column("price_version", sa.Text, nullable=False, server_default=""),
    sa.Column("day", sa.Date, nullable=False, server_default=sa.text("(clock_timestamp() at time zone 'utc')::date")),
    sa.Column("sent_at", Instant, nullable=False, server_default=NOW),
    sa.Column("answered_at", Instant),
    sa.UniqueConstraint("run_id", "step_key", "ordinal"),
    sa.Index("ix_calls_sent_at", "sent_at"),
)

budgets = sa.Table(
    "budgets",
    metadata,
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True, comment="'' for the installation, else an owner"),
    _dollars("spent_usd"),
    _dollars("reserved_usd"),
)

slots = sa.Table(
    "slots",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("place", sa.Integer, primary_key=True),
    sa.Column("run_id", UUID(as_uuid=False)),
    sa.Column("step_key", sa.Text),
    sa.Index("ix_slots_holder", "run_id", "step_key", postgresql_where=sa.text("run_id is not null")),
)

slot_waiters = sa.Table(
    "slot_waiters",
    metadata,
    sa.Column("waiter_id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    _run_id(),
    sa.Column("step_key", sa.Text, nullable=False),
    sa.UniqueConstraint("name", "run_id", "step_key"),
)

admission = sa.Table(
    "admission",
    metadata,
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("run_id", UUID(as_uuid=False)),
    sa.Index("ix_admission_free", "place", postgresql_where=sa.text("run_id is null")),
    sa.Index("ix_admission_run", "run_id", unique=True, postgresql_where=sa.text("run_id is not null")),
)

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("delivery_id", UUID(as_uuid=False), primary_key=True),
    _run_id(),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="pending", comment="pending delivered failed"),
    _counter("tries"),
    sa.Column("created_at", Instant, nullable=False, server_default=NOW),
    sa.Column("not_before", Instant, nullable=False, server_default=NOW),
    sa.Column("delivered_at", Instant),
    sa.Column("last_error", sa.Text),
    sa.Index("ix_outbox_due", "not_before", postgresql_where=sa.text("status = 'pending'")),
    sa.Index("ix_outbox_run_id", "run_id"),
)
