"""All SQL of chat."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import sqlalchemy as sa

from app.chat import tables
from app.chat.model import Asked, Category, Message, Outcome, Session, Turn
from app.errors import NotFoundError
from app.runs.text import cleaned

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.engine import Connection, Engine, Row

    from app.chat.model import Receipt

sessions, messages, turns = tables.chat_sessions, tables.chat_messages, tables.chat_turns
RESULT = 2
MOST_MESSAGES_READ = 10_000
FORGETTING_DAYS = 30
"""How long after a message its run is looked for, when its session was deleted while it was under way."""
ADD_TURN = sa.insert(turns)

DROP_EXPIRED_ONE = sa.text(
    "delete from chat_sessions where session_id = :session_id and expires_at <= clock_timestamp()"
)
# One statement: two who open the same name at once are told apart by its conflict, and each gets a position of its own.
OPEN = sa.text("""
insert into chat_sessions as s (session_id, owner, expires_at, positions)
values (:session_id, :owner, clock_timestamp() + make_interval(secs => :ttl_s), 1)
on conflict (session_id) do update set positions = s.positions + 1, expires_at = excluded.expires_at
where s.owner = excluded.owner
returning positions
""")
# A session is found through its turn, whose link is cut when it is deleted: another one of the same name, perhaps
# somebody else's, is none of the turn's.
NEXT_POSITION = sa.text("""
update chat_sessions s set positions = positions + 1,
    expires_at = greatest(expires_at, clock_timestamp() + make_interval(secs => :ttl_s))
from chat_turns t where t.run_id = cast(:run_id as uuid) and s.session_id = t.session_id returning positions
""")
# What is written by a step is on the disk once the step's own end is, which follows it in the same log; were it lost
# before that, the step would be done again.
WITH_THE_STEP = sa.text("set local synchronous_commit = off")
# In one round trip, for somebody waits. The session cannot be deleted meanwhile; where it is gone, there are no lines
# to store, and the receipt stays.
KEEP_ANSWER = sa.text("""
set local synchronous_commit = off;
with s as (
    select s.session_id from chat_turns t join chat_sessions s using (session_id)
    where t.run_id = cast(:run_id as uuid) for key share of s
),
lines as (
    insert into chat_messages (session_id, position, run_id, part, role, content)
    select s.session_id, :position, cast(:run_id as uuid), l.part, l.role, l.content
    from s, (values (0, 'user', cast(:asked as text)), (1, 'assistant', cast(:answer as text))) l (part, role, content)
    on conflict (run_id, part) do nothing
)
update chat_turns set answered_at = clock_timestamp(), category = :category, model = :model, moved_from = :moved_from,
    holdout = :holdout, sorted_by = :sorted_by, held_from = :held_from,
    reason = :reason, estimated_usd = :estimated_usd, saved_usd = :saved_usd, cost_usd = :cost_usd
where run_id = cast(:run_id as uuid) and answered_at is null
""")
# The texts go with their session; a judged one stays for those who learn, unless its owner deleted the session.
FORGET_TEXTS = sa.text("""
update chat_turns set asked = null where session_id is null and asked is not null and good is null
""")


class PgChatStore:
    """Sessions, messages and turns in PostgreSQL.

    Args:
        engine: the process's pool.
        ttl_s: seconds a session lives after its last message.
    """

    def __init__(self, engine: Engine, *, ttl_s: float) -> None:
        self.engine = engine
        self._ttl_s = ttl_s

    def open_session(self, connection: Connection, session_id: str, owner: str, *, is_new: bool) -> int:
        """Open a session, or go on with one, and take the next position in it.

        Args:
            connection: the caller's transaction; the session is locked until its end.
            session_id: checked.
            owner: whose it is, or becomes.
            is_new: the id was made just now, so nothing of that name can have expired.

        Raises:
            NotFoundError: it is somebody else's.
        """
        if not is_new:
            connection.execute(DROP_EXPIRED_ONE, {"session_id": session_id})
        values = {"session_id": session_id, "owner": owner, "ttl_s": self._ttl_s}
        position = connection.execute(OPEN, values).scalar_one_or_none()
        if position is None:
            raise NotFoundError("There is no such session.", code="session_not_found")
        return int(position)

    def add_turn(self, connection: Connection, turn: Turn) -> None:
        """Write a message down that is under way."""
        values = {
            "run_id": turn.run_id,
            "owner": turn.owner,
            "session_id": turn.session_id,
            "position": turn.position,
            "asked": turn.asked.to_json(),
            "holdout": turn.holdout,
            "streams": turn.streams,
            "context_tokens": min(turn.asked.tokens, 2**31 - 1),
        }
        connection.execute(ADD_TURN, values)

    def read_turn(self, run_id: str, *, most: int) -> Turn | None:
        """Read a turn with what its session holds besides it.

        Args:
            run_id: the turn's.
            most: newest messages that are read.

        Returns:
            None when there is no such turn, or its text is gone.
        """
        query = (
            sa.select(turns, sessions.c.summary)
            .outerjoin(sessions, sessions.c.session_id == turns.c.session_id)
            .where(turns.c.run_id == run_id)
        )
        with self.engine.connect() as connection:
            row = connection.execute(query).one_or_none()
            if row is None or row.asked is None:
                return None
            history = self._history(connection, row, most) if row.position > 1 and row.session_id else ()
        return Turn(
            run_id=run_id,
            session_id=row.session_id or "",
            owner=row.owner,
            position=row.position,
            asked=Asked.from_json(row.asked),
            holdout=row.holdout,
            streams=row.streams,
            summary=row.summary or "",
            history=history,
        )

    def _history(self, connection: Connection, turn: Row[Any], most: int) -> tuple[Message, ...]:
        query = (
            sa.select(messages)
            .where(messages.c.session_id == turn.session_id, messages.c.run_id != turn.run_id, ~messages.c.folded)
            .order_by(messages.c.position.desc(), messages.c.part.desc())
            .limit(most)
        )
        return tuple(reversed([_message(row) for row in connection.execute(query)]))

    def fold(self, session_id: str, summary: str, folded: Sequence[int], before: str) -> None:
        """Put messages into the session's summary, unless somebody else has changed it since it was read.

        A session that was deleted meanwhile took its messages with it: one opened under its name has none of them, and
        gets nothing.

        Repeat-safe: the summary is compared with what it was, and both change together.
        """
        theirs = (messages.c.session_id == session_id) & messages.c.message_id.in_(folded)
        with self.engine.begin() as connection:
            connection.execute(WITH_THE_STEP)
            changed = connection.execute(
                sa.update(sessions)
                .where(sessions.c.session_id == session_id, sessions.c.summary == before)
                .where(sa.exists().where(theirs))
                .values(summary=cleaned(summary))
            ).rowcount
            if changed:
                connection.execute(sa.update(messages).where(theirs).values(folded=True))

    def keep_answer(self, turn: Turn, answer: str, receipt: Receipt) -> None:
        """Store a message with its answer, and what became of it; a session that was deleted meanwhile stays so.

        Repeat-safe: a run has one row a part.
        """
        values = {
            "position": turn.position,
            "run_id": turn.run_id,
            "asked": cleaned(turn.asked.message),
            "answer": cleaned(answer),
            "category": str(receipt.chosen.category),
            "model": receipt.answered_by,
            "moved_from": receipt.chosen.moved_from,
            "holdout": receipt.chosen.holdout,
            "sorted_by": None if receipt.chosen.sorted_by is None else str(receipt.chosen.sorted_by),
            "held_from": receipt.chosen.held_from,
            "reason": receipt.chosen.reason,
            "estimated_usd": receipt.estimated_usd,
            "saved_usd": receipt.saved_usd,
            "cost_usd": receipt.cost_usd,
        }
        with self.engine.begin() as connection:
            connection.execute(KEEP_ANSWER, values)

    def keep_result(self, turn: Turn, text: str, telling: int = 0) -> None:
        """Append what came of a plan, after everything that was said meanwhile.

        Repeat-safe: a run has one row a part, and each telling is a part of its own.
        """
        with self.engine.begin() as connection:
            connection.execute(WITH_THE_STEP)
            values = {"run_id": turn.run_id, "ttl_s": self._ttl_s}
            position = connection.execute(NEXT_POSITION, values).scalar_one_or_none()
            if position is not None:
                line = {
                    "session_id": turn.session_id,
                    "position": position,
                    "run_id": turn.run_id,
                    "part": RESULT + telling,
                }
                connection.execute(ADD_LINE, {**line, "role": "assistant", "content": cleaned(text)})

    def read_session(self, session_id: str, owner: str | None) -> Session:
        """Read a session with its messages, oldest first.

        Raises:
            NotFoundError: there is none (any more), or it is somebody else's.
        """
        with self.engine.connect() as connection:
            row = connection.execute(
                sa.select(sessions).where(
                    sessions.c.session_id == session_id, sessions.c.expires_at > sa.func.clock_timestamp()
                )
            ).one_or_none()
            if row is None or (owner is not None and row.owner != owner):
                raise NotFoundError("There is no such session.", code="session_not_found")
            lines = connection.execute(
                sa.select(messages)
                .where(messages.c.session_id == session_id)
                .order_by(messages.c.position.desc(), messages.c.part.desc())
                .limit(MOST_MESSAGES_READ)
            ).all()
        return Session(session_id, row.created_at, tuple(_message(line) for line in reversed(lines)))

    def delete_session(self, session_id: str, owner: str | None) -> list[str]:
        """Delete a session and every text of it.

        Returns:
            The runs of its messages, whose texts are the engine's.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        mine = sa.true() if owner is None else sessions.c.owner == owner
        with self.engine.begin() as connection:
            found = connection.execute(
                sa.select(sessions.c.session_id)
                .where(sessions.c.session_id == session_id, sessions.c.expires_at > sa.func.clock_timestamp(), mine)
                .with_for_update()
            ).scalar_one_or_none()
            if found is None:
                raise NotFoundError("There is no such session.", code="session_not_found")
            forgotten = connection.execute(
                sa.update(turns)
                .where(turns.c.session_id == session_id)
                .values(asked=sa.null(), note=None)
                .returning(turns.c.run_id)
            ).scalars()
            runs = list(forgotten)
            connection.execute(sa.delete(sessions).where(sessions.c.session_id == session_id))
        return runs

    def forgotten_runs(self) -> list[str]:
        """List the runs of deleted sessions' newer messages; some were under way, and have ended since."""
        query = sa.select(turns.c.run_id).where(
            turns.c.session_id.is_(None),
            turns.c.asked.is_(None),
            turns.c.created_at > sa.func.clock_timestamp() - sa.func.make_interval(0, 0, 0, FORGETTING_DAYS),
        )
        with self.engine.connect() as connection:
            return list(connection.execute(query).scalars())

    def judge(self, run_id: str, owner: str | None, *, good: bool, note: str | None) -> datetime:
        """Keep a person's verdict on an answer; the last one counts.

        Returns:
            When it was kept.

        Raises:
            NotFoundError: no answered chat of theirs, or its texts are gone: nothing deletes a note that comes after.
        """
        mine = turns.c.asked.is_not(None) & (sa.true() if owner is None else turns.c.owner == owner)
        with self.engine.begin() as connection:
            judged_at = connection.execute(
                sa.update(turns)
                .where(turns.c.run_id == run_id, turns.c.answered_at.is_not(None), mine)
                .values(good=good, note=note, judged_at=sa.func.clock_timestamp())
                .returning(turns.c.judged_at)
            ).scalar_one_or_none()
        if judged_at is None:
            raise NotFoundError("There is no answered chat of that id.", code="chat_not_found")
        return cast("datetime", judged_at)

    def read_outcomes(self, *, limit: int = 10_000) -> list[Outcome]:
        """List the newest judged chats, oldest of them first."""
        query = sa.select(turns).where(turns.c.judged_at.is_not(None)).order_by(turns.c.judged_at.desc()).limit(limit)
        with self.engine.connect() as connection:
            rows = connection.execute(query).all()
        return [_outcome(row) for row in reversed(rows)]

    def count(self) -> tuple[int, int]:
        """Count the sessions that are kept, and their messages."""
        kept, said = (sa.select(sa.func.count()).select_from(table).scalar_subquery() for table in (sessions, messages))
        with self.engine.connect() as connection:
            row = connection.execute(sa.select(kept, said)).one()
        return row[0], row[1]

    def delete_expired(self, *, receipts_age_s: float) -> int:
        """Delete sessions past their time, their texts, and receipts of that age; give the number of sessions."""
        with self.engine.begin() as connection:
            gone = connection.execute(
                sa.delete(sessions).where(sessions.c.expires_at <= sa.func.clock_timestamp())
            ).rowcount
            connection.execute(FORGET_TEXTS)
            age = sa.func.make_interval(0, 0, 0, 0, 0, 0, receipts_age_s)
            connection.execute(sa.delete(turns).where(turns.c.created_at < sa.func.clock_timestamp() - age))
        return int(gone)


ADD_LINE = sa.text("""
insert into chat_messages (session_id, position, run_id, part, role, content)
values (:session_id, :position, cast(:run_id as uuid), :part, :role, :content)
on conflict (run_id, part) do nothing
""")


def _message(row: Row[Any]) -> Message:
    return Message(row.message_id, row.role, row.content, row.created_at)


def _outcome(row: Row[Any]) -> Outcome:
    return Outcome(
        run_id=row.run_id,
        message=None if row.asked is None else row.asked["message"],
        context_tokens=row.context_tokens,
        category=Category(row.category),
        model=row.model,
        holdout=row.holdout,
        good=row.good,
        cost_usd=row.cost_usd or Decimal(0),
        judged_at=row.judged_at,
    )
