"""The journal's functions alone: processes that exist only as rows, and messages that lie in a list.

A `Desk` submits runs and commands; a `Hand` stands for one worker process with a connection of its own.
"""

from __future__ import annotations

import copy
import uuid
from decimal import Decimal
from typing import Any

import orjson
import sqlalchemy as sa

from app.bootstrap import libpq_address
from app.runs.claimed import Claimed, read_claim
from app.runs.effects import read_all_effects, read_effects
from app.runs.journal import connect
from app.runs.model import Effects, Priority, RunRequest, RunView, Send, new_run_id
from app.runs.runner import _expand, _skip
from app.runs.store import PgRunStore
from app.runs.submission import submission_rows
from app.runs.text import cleaned_json
from app.workflows.variables import render
from tests.engine.documents import parse

LEASE_S = 0.001  # how old the server must be before a lease may be dead; the rows themselves say who lives
LIVES = "insert into processes (process_id, role, name, expires_at) values (%s, 'test', 'test', 'infinity')"
JOURNAL = "select answers, effects from batuta_journal(%s, %s, %s)"
RECOVER = "select effects, counts from batuta_recover(%s, %s, %s, cast(%s as jsonb))"
QUEUE_NAMES = [f"{shape}.{priority}" for shape in ("inline", "linear") for priority in ("high", "medium", "low")]
EMPTY_QUEUES = orjson.dumps(dict.fromkeys(QUEUE_NAMES, 0)).decode()


class Hand:
    """One process.

    Args:
        dsn: a libpq address.
        lives: whether it has a lease.
    """

    def __init__(self, dsn: str, *, lives: bool = True) -> None:
        self.process_id = str(uuid.uuid4())
        self.connection = connect(dsn)
        self.messages: list[Send] = []
        self.wakes: list[tuple[str, str]] = []
        if lives:
            self.execute(LIVES, (self.process_id,))

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run a statement on this process's connection."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

    def do(self, *operations: dict[str, Any]) -> list[dict[str, Any]]:
        """Write operations in one transaction, and keep what shall be published."""
        text = "[" + ",".join(cleaned_json(operation) for operation in operations) + "]"
        answers, effects = self.execute(JOURNAL, (self.process_id, LEASE_S, text))[0]
        self.keep(read_all_effects(effects))
        return list(answers)

    def keep(self, effects: Effects) -> None:
        """Keep messages and wakes."""
        self.messages.extend(send for send in effects.sends if not send.chained)
        self.wakes.extend(effects.wakes)

    def claim(self, run_id: str, key: str, claim: str | None = None) -> Claimed | None:
        """Claim a step; None when it is refused."""
        answer = self.do({"op": "claim", "run": run_id, "key": key, "claim": claim or uuid.uuid4().hex})[0]
        return None if "refused" in answer else read_claim(run_id, key, answer)

    def must_claim(self, run_id: str, key: str) -> Claimed:
        """Claim a step that must be there to be had."""
        step = self.claim(run_id, key)
        assert step is not None, f"step {key} was refused"
        return step

    def finish(self, step: Claimed, output: Any = None, **fields: Any) -> dict[str, Any]:
        """End a claimed step as completed, or as `status` says."""
        return self.do(step.operation("finish", **{"status": "completed", "output": output, **fields}))[0]

    def fail(self, step: Claimed, code: str = "boom") -> dict[str, Any]:
        """End a claimed step as failed."""
        return self.do(step.operation("finish", status="failed", error={"code": code, "message": code}))[0]

    def perform(self, run_id: str, key: str, output: Any = None) -> dict[str, Any]:
        """Claim a step and complete it."""
        return self.finish(self.must_claim(run_id, key), output)

    def decide(self, step: Claimed) -> dict[str, Any] | None:
        """What a worker does before it calls a handler: skip, expand, wait; None when the handler is called."""
        skip = _skip(step)
        if skip is not None:
            return dict(skip)
        if step.task.for_each is not None and step.item is None:
            return dict(_expand(step))
        if step.task.kind == "approval":
            return dict(step.operation("wait", rendered=render(step.task.target, step.values)))
        return None

    def reserve(self, step: Claimed, estimate: str, **fields: Any) -> dict[str, Any]:
        """Reserve money for a call."""
        given = {"provider": "openai", "model": "fast_ai", "request": {"n": 1}, "estimate_usd": estimate, **fields}
        return self.do(step.operation("reserve_call", **given))[0]

    def answer(self, step: Claimed, ordinal: int, cost: str, status: str = "answered", **fields: Any) -> dict[str, Any]:
        """Settle a call."""
        given = {"ordinal": ordinal, "status": status, "cost_usd": cost, "response": {"said": ordinal}, **fields}
        return self.do(step.operation("answer_call", **given))[0]

    def recover(
        self, *, limit: int = 500, epoch: str | None = None, depths: str | None = EMPTY_QUEUES
    ) -> dict[str, Any]:
        """Make a recovery pass."""
        effects, counts = self.execute(RECOVER, (LEASE_S, limit, epoch, depths))[0]
        if effects is not None:
            self.keep(read_effects(effects))
        return dict(counts)

    def die(self) -> None:
        """Lose the lease, and what was to be published."""
        self.execute("delete from processes where process_id = %s", (self.process_id,))
        self.messages.clear()
        self.wakes.clear()

    def close(self) -> None:
        """Let go of the connection."""
        self.connection.close()


class Desk:
    """Runs on a database without any worker.

    Args:
        engine: on a migrated database.
        places: for runs; None leaves what there is.
    """

    def __init__(self, engine: sa.Engine, *, places: int | None = 1000) -> None:
        self.engine = engine
        self.store = PgRunStore(engine)
        self.dsn = libpq_address(engine.url.render_as_string(hide_password=False))
        self.hands: list[Hand] = []
        self.messages: list[Send] = []
        if places is not None:
            self.set_places(places)

    def hand(self, *, lives: bool = True) -> Hand:
        """Make a process."""
        hand = Hand(self.dsn, lives=lives)
        self.hands.append(hand)
        return hand

    def ghost(self, dead: Hand) -> Hand:
        """A process as it was before its death, on the same connection."""
        ghost = copy.copy(dead)
        ghost.messages, ghost.wakes = [], []
        return ghost

    def be_reborn(self, dead: Hand) -> None:
        """Start a new process in place of one that died."""
        dead.process_id = str(uuid.uuid4())
        dead.execute(LIVES, (dead.process_id,))

    def set_places(self, places: int) -> None:
        """Say how many runs may be under way."""
        self.write("delete from admission where run_id is null")
        self.write(f"select batuta_resize_admission({places})")

    def submit(self, blocks: list[dict[str, Any]], variables: dict[str, Any] | None = None, **options: Any) -> str:
        """Write a run."""
        if "max_cost_usd" in options:
            options["max_cost_usd"] = Decimal(str(options["max_cost_usd"]))
        options["priority"] = Priority(options.get("priority", "medium"))
        request = RunRequest("workflow", parse(blocks, variables), owner=options.pop("owner", "tester"), **options)
        run_id = new_run_id()
        with self.engine.begin() as connection:
            _, effects = self.store.submit(connection, submission_rows(run_id, request))
        self.messages.extend(effects.sends)
        return run_id

    def command(self, run_id: str, command: str, **op: Any) -> str | None:
        """Carry out a person's command; None when the run's state does not allow it."""
        with self.engine.begin() as connection:
            status, effects = self.store.command(connection, run_id, command, op)
        self.messages.extend(effects.sends)
        return None if status is None else str(status)

    def wait_for_person(self, run_id: str, key: str) -> None:
        """Bring an approval to where it waits."""
        hand = self.hand()
        hand.do(hand.decide(hand.must_claim(run_id, key)) or {})

    def cancel(self, run_id: str) -> None:
        """Cancel in two transactions, as the service does."""
        self.command(run_id, "cancel")
        self.command(run_id, "cancel_rest")

    def read(self, statement: str, **values: Any) -> list[tuple[Any, ...]]:
        """Read the database."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(statement), values)]

    def write(self, statement: str, **values: Any) -> None:
        """Change the database behind the journal's back."""
        with self.engine.begin() as connection:
            connection.execute(sa.text(statement), values)

    def view(self, run_id: str) -> RunView:
        """Read a run."""
        view = self.store.read_run(run_id)
        assert view is not None
        return view

    def status(self, run_id: str) -> str:
        """Where a run is."""
        return str(self.read("select status from runs where run_id = :run", run=run_id)[0][0])

    def run_row(self, run_id: str) -> Any:
        """Read a run's counters by name."""
        with self.engine.connect() as connection:
            return connection.execute(sa.text("select * from runs where run_id = :run"), {"run": run_id}).one()

    def step_row(self, run_id: str, key: str) -> Any:
        """Read a step's row by name."""
        statement = sa.text("select * from steps where run_id = :run and key = :key")
        with self.engine.connect() as connection:
            return connection.execute(statement, {"run": run_id, "key": key}).one()

    def statuses(self, run_id: str) -> dict[str, str]:
        """Every step's status."""
        return {step.key: step.status for step in self.view(run_id).steps}

    def events(self, run_id: str) -> list[tuple[str, str | None]]:
        """The run's story: type and step."""
        return [(event.type, event.step_key) for event in self.store.read_events(run_id, 0, 100_000)]

    def take_messages(self, *hands: Hand) -> list[Send]:
        """Take all messages that are on their way."""
        taken = [*self.messages]
        self.messages.clear()
        for hand in hands:
            taken.extend(hand.messages)
            hand.messages.clear()
        return taken

    def play(self, hand: Hand, outputs: dict[str, Any] | None = None, *, most: int = 10_000) -> None:
        """Do every message until none is left: skip, expand and wait as a worker does, complete the rest.

        Args:
            hand: who does it.
            outputs: what steps give; an exception's instance fails the step. Default is the step's key.
            most: messages after which something must be wrong.
        """
        for _ in range(most):
            if not self.messages:
                self.messages = self.take_messages(hand)
            if not self.messages:
                return
            self.play_step(hand, self.messages.pop(0), outputs or {})
        raise AssertionError("the run does not come to an end")

    def play_step(self, hand: Hand, send: Send, outputs: dict[str, Any]) -> None:
        """Do one message and what its chain carries."""
        for key in (send.key, *(key for key, _ in send.tail)):
            step = hand.claim(send.run_id, key)
            if step is None:
                return
            operation = hand.decide(step)
            if operation is None:
                output = outputs.get(key, key)
                operation = _outcome(step, output)
            hand.do(operation)

    def check(self, run_id: str) -> None:
        """Hold a run's counters against its steps.

        Raises:
            AssertionError: one of them is not what its steps say.
        """
        for name, wrong in (
            ("taken", TAKEN_IS_PLACED),
            ("remaining", REMAINING_IS_OPEN),
            ("deps_left", DEPS_LEFT_ARE_OPEN),
            ("items", ITEMS_LEFT_ARE_OPEN),
            ("counters", COUNTERS_COUNT),
            ("places", PLACES_ARE_HELD),
            ("owners", OWNED_ARE_RUNNING),
            ("money", MONEY_ADDS_UP),
            ("events", EVENTS_HAVE_NO_GAP),
            ("slots", SLOTS_ARE_HELD),
            ("order", NOBODY_IS_TOO_EARLY),
        ):
            found = self.read(wrong, run=run_id)
            assert not found, f"{name} of run {run_id} are wrong: {found}\n{self.events(run_id)[-30:]}"

    def close(self) -> None:
        """Let go of every connection."""
        for hand in self.hands:
            hand.close()


def _outcome(step: Claimed, output: Any) -> dict[str, Any]:
    if isinstance(output, Exception):
        return dict(step.operation("finish", status="failed", error={"code": "boom", "message": str(output)}))
    return dict(step.operation("finish", status="completed", output=output))


ENDS = "('completed', 'failed', 'skipped', 'cancelled')"
TAKEN_IS_PLACED = """
select b.block, b.taken, count(s.key) filter (where s.placed)
from blocks b left join steps s using (run_id, block) where b.run_id = :run
group by b.block, b.taken having b.taken <> count(s.key) filter (where s.placed)"""
REMAINING_IS_OPEN = f"""
select b.block, b.remaining, b.status from blocks b left join steps s on s.run_id = b.run_id and s.block = b.block
    and s.parent is null and s.status not in {ENDS}
where b.run_id = :run group by b.block, b.remaining, b.status having b.remaining <> count(s.key)"""
DEPS_LEFT_ARE_OPEN = f"""
select s.key, s.deps_left, s.status from steps s where s.run_id = :run and s.parent is null
    and s.status in ('pending', 'ready') and s.deps_left <> (select count(*) from steps d
        where d.run_id = s.run_id and s.key = any(d.dependents) and d.status not in {ENDS})"""
ITEMS_LEFT_ARE_OPEN = f"""
select p.key, p.deps_left from steps p where p.run_id = :run and p.status = 'waiting' and p.reason = 'items'
    and p.deps_left <> (select count(*) from steps i where i.run_id = p.run_id and i.parent = p.key
        and i.status not in {ENDS})"""
COUNTERS_COUNT = """
select r.completed_steps, r.failed_steps, r.waiting_steps from runs r where r.run_id = :run and (
    r.failed_steps <> (select count(*) from steps s where s.run_id = r.run_id and s.status = 'failed')
    or r.waiting_steps <> (select count(*) from steps s where s.run_id = r.run_id and s.status = 'waiting'
        and s.reason = 'person')
    or r.completed_steps <> (select count(*) from steps s where s.run_id = r.run_id and s.status = 'completed'
        and not exists (select 1 from steps i where i.run_id = s.run_id and i.parent = s.key)))"""
PLACES_ARE_HELD = """
select r.status, a.place from runs r left join admission a using (run_id) where r.run_id = :run
    and (r.status = 'running') <> (a.place is not null)"""
OWNED_ARE_RUNNING = """
select key, status, owner from steps where run_id = :run and (status = 'running') <> (owner is not null)"""
MONEY_ADDS_UP = """
select r.spent_usd, r.reserved_usd from runs r where r.run_id = :run and (
    r.spent_usd <> (select coalesce(sum(c.cost_usd), 0) from calls c where c.run_id = r.run_id)
    or r.spent_usd <> (select coalesce(sum(s.cost_usd), 0) from steps s where s.run_id = r.run_id)
    or r.reserved_usd <> (select coalesce(sum(c.estimate_usd), 0) from calls c
        where c.run_id = r.run_id and c.status = 'sent'))"""
EVENTS_HAVE_NO_GAP = """
select r.event_seq from runs r where r.run_id = :run
    and r.event_seq <> (select count(*) from events e where e.run_id = r.run_id)"""
NOBODY_IS_TOO_EARLY = f"""
select s.key, s.status, d.key as before, d.status from steps s join blocks b using (run_id, block)
join steps d on d.run_id = s.run_id and d.parent is null and d.status not in {ENDS} and (d.block < s.block
    or (d.block = s.block and ((b.type = 'inline' and d.position < s.position)
        or (b.type = 'graph' and s.task -> 'depends_on' ? d.key))))
where s.run_id = :run and s.status in ('ready', 'running', 'parked', 'waiting')"""
SLOTS_ARE_HELD = f"""
select l.name, l.place, s.key, s.status from slots l left join steps s on s.run_id = l.run_id and s.key = l.step_key
where l.run_id = :run and (s.key is null or s.status in {ENDS})"""
