"""What people and doors ask of chat."""

from __future__ import annotations

import logging
import random
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from app.chat.model import (
    FIRST_STEP,
    KIND,
    MEDIUM,
    SESSION_ID,
    THINKING,
    WARM_UP_KIND,
    Asked,
    Turn,
)
from app.chat.routing import route_by_shape
from app.errors import InvalidError
from app.runs.model import Priority, RunRequest
from app.workflows.model import Block, BlockType, Task, Workflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import redis
    from sqlalchemy.engine import Connection

    from app.chat.model import Judgement, Session
    from app.chat.ports import Categoriser
    from app.chat.store import PgChatStore
    from app.runs.model import Started
    from app.runs.service import RunService

logger = logging.getLogger(__name__)

WARM_UP_EVERY_S = 300
WARM_UP_USD = Decimal("0.01")
WARM_UP = "chat_warmup"
RECEIPTS_AGE_S = 400 * 86_400.0
"""Receipts are kept a little over a year: what routing saves is looked at by months."""


@dataclass(frozen=True)
class Options:
    """How a chat's run shall be done; as every run's."""

    priority: Priority = Priority.MEDIUM
    max_cost_usd: Decimal | None = None
    callback_url: str | None = None


class ChatService:
    """Start chats, read and delete sessions, take verdicts.

    Args:
        store: sessions and turns.
        runs: the engine.
        categoriser: the local one, for dry runs.
        client: Redis, for the rate of warm-ups.
        holdout: share of single-model requests that go to the strong model all the same.
        draw: a number from 0 to 1, new on each call.
    """

    def __init__(
        self,
        store: PgChatStore,
        runs: RunService,
        categoriser: Callable[[], Categoriser],
        client: redis.Redis,
        *,
        holdout: float,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._runs = runs
        self._categoriser = categoriser
        self._client = client
        self._holdout = holdout
        self._draw = draw

    def start_chat(
        self,
        asked: Asked,
        session_id: str | None,
        owner: str,
        options: Options,
        connection: Connection | None = None,
        *,
        streams: bool = False,
    ) -> Started:
        """Write a message down and start its run.

        Args:
            asked: what was sent.
            session_id: the session it belongs to; None, or empty, opens a new one.
            owner: whose it is.
            options: of the run.
            connection: joins the caller's transaction; the caller then publishes after its commit.
            streams: somebody reads the answer's pieces as they come.

        Raises:
            InvalidError: no session can have such an id.
            NotFoundError: the session is somebody else's.
            TooLargeError: more than any model takes.
        """
        route_by_shape(asked)  # what is too large is refused here
        known = check_session_id(session_id) if session_id else None
        if connection is not None:
            return self._start(connection, asked, known, owner, options, streams=streams)
        with self._store.engine.begin() as own:
            started = self._start(own, asked, known, owner, options, streams=streams)
        self._runs.publish(started)
        return started

    def _start(
        self,
        connection: Connection,
        asked: Asked,
        known: str | None,
        owner: str,
        options: Options,
        *,
        streams: bool,
    ) -> Started:
        session_id = known or str(uuid.uuid4())
        # The session's row first: two messages at once get their places in it one after the other.
        position = self._store.open_session(connection, session_id, owner, is_new=known is None)
        request = RunRequest(
            kind=KIND,
            workflow=_document(Task(FIRST_STEP, "workflow[0].tasks[0]", "agent", "chat")),
            owner=owner,
            priority=options.priority,
            max_cost_usd=options.max_cost_usd,
            callback_url=options.callback_url,
            subject={"session_id": session_id},
        )
        started = self._runs.start_run(request, connection)
        holdout = self._draw() < self._holdout
        turn = Turn(started.run_id, session_id, owner, position, asked, holdout, streams)
        self._store.add_turn(connection, turn)
        return started

    def read_session(self, session_id: str, *, owner: str | None) -> Session:
        """Read a session; None as owner reads anybody's.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        return self._store.read_session(session_id, owner)

    def delete_session(self, session_id: str, *, owner: str | None) -> None:
        """Delete a session with every text of it; what is under way ends, and is stored nowhere.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        self._store.delete_session(session_id, owner)

    def judge(self, run_id: str, *, good: bool, note: str | None, owner: str | None) -> datetime:
        """Keep a person's verdict on an answer; the last one counts.

        Raises:
            NotFoundError: no answered chat of theirs.
        """
        return self._store.judge(run_id, owner, good=good, note=note)

    def warm_up(self, owner: str) -> Started | None:
        """Open the way to the models for somebody who is about to write; at most once in `WARM_UP_EVERY_S`.

        Returns:
            None when it was done a moment ago.
        """
        if not self._client.set(f"batuta:warmup:{owner}", "1", nx=True, ex=WARM_UP_EVERY_S):
            return None
        task = Task("warm", "workflow[0].tasks[0]", "agent", WARM_UP, retries=0)
        request = RunRequest(WARM_UP_KIND, _document(task), owner, priority=Priority.HIGH, max_cost_usd=WARM_UP_USD)
        return self._runs.start_run(request)

    def foresee(self, asked: Asked) -> tuple[str, ...]:
        """Name the models a message would need, without asking any: the likely one first.

        Raises:
            TooLargeError: more than any model takes.
        """
        shaped = route_by_shape(asked)
        return (shaped.model,) if shaped is not None else (MEDIUM, THINKING)

    def judge_locally(self, asked: Asked) -> Judgement:
        """Say what the local categoriser thinks."""
        return self._categoriser().judge(asked.message, asked.context_tokens)

    def tidy(self) -> int:
        """Delete sessions past their time; give their number."""
        return self._store.delete_expired(receipts_age_s=RECEIPTS_AGE_S)


def check_session_id(session_id: str) -> str:
    """Give an id back that a session may have.

    Raises:
        InvalidError: it may not.
    """
    if not SESSION_ID.fullmatch(session_id):
        raise InvalidError(
            "The session_id cannot be used.",
            errors={"session_id": ["Must be 1 to 128 letters, digits or ._:@+=~-, and begin with a letter or digit."]},
        )
    return session_id


def _document(task: Task) -> Workflow:
    return Workflow((Block(0, BlockType.INLINE, (task,)),))
