"""What people and doors ask of chat."""

from __future__ import annotations

import logging
import random
import uuid
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from app.chat.model import (
    ACKNOWLEDGER,
    CATEGORIZER,
    FIRST_STEP,
    KIND,
    REPORTER,
    SESSION_ID,
    THINKING,
    WARM_UP_KIND,
    Asked,
    Category,
    CategorySource,
    Turn,
)
from app.chat.routing import route_by_category, route_by_shape, trusts_local
from app.chat.tokens import forget_pieces
from app.errors import InvalidError
from app.runs.model import Priority, RunRequest
from app.workflows.model import Block, BlockType, Task, Workflow

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import redis
    from sqlalchemy.engine import Connection

    from app.chat.model import Outcome, Session
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
    """How a chat's run shall be done; `streams`: somebody reads the answer's pieces as they come."""

    priority: Priority = Priority.MEDIUM
    max_cost_usd: Decimal | None = None
    callback_url: str | None = None
    streams: bool = False


@dataclass(frozen=True)
class Sorting:
    """How messages are sorted here.

    Args:
        categoriser: the local one; asked for at each message, since what is learned changes.
        source: who says categories.
        holdout: share of single-model requests that go to the strong model all the same.
        draw: a number from 0 to 1, new on each call.
    """

    categoriser: Callable[[], Categoriser]
    source: CategorySource
    holdout: float
    draw: Callable[[], float] = random.random


class ChatService:
    """Start chats, read and delete sessions, take verdicts.

    Args:
        store: sessions and turns.
        runs: the engine.
        client: Redis, for the rate of warm-ups and the pieces of answers.
        sorting: how messages are sorted, for dry runs and for the share that is held out.
    """

    def __init__(
        self,
        store: PgChatStore,
        runs: RunService,
        client: redis.Redis,
        sorting: Sorting,
    ) -> None:
        self._store = store
        self._runs = runs
        self._client = client
        self._sorting = sorting

    def start_chat(
        self,
        asked: Asked,
        session_id: str | None,
        owner: str,
        options: Options,
        connection: Connection | None = None,
    ) -> Started:
        """Write a message down and start its run.

        Args:
            asked: what was sent.
            session_id: the session it belongs to; None, or empty, opens a new one.
            owner: whose it is.
            options: of the run.
            connection: joins the caller's transaction; the caller then publishes after its commit.

        Raises:
            InvalidError: no session can have such an id.
            NotFoundError: the session is somebody else's.
            TooLargeError: more than any model takes.
        """
        route_by_shape(asked)  # what is too large is refused here
        known = check_session_id(session_id) if session_id else None
        if connection is not None:
            return self._start(connection, asked, known, owner, options)
        with self._store.engine.begin() as own:
            started = self._start(own, asked, known, owner, options)
        self._runs.publish(started)
        return started

    def _start(
        self,
        connection: Connection,
        asked: Asked,
        known: str | None,
        owner: str,
        options: Options,
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
        holdout = self._sorting.draw() < self._sorting.holdout
        turn = Turn(started.run_id, session_id, owner, position, asked, holdout, options.streams)
        self._store.add_turn(connection, turn)
        return started

    def read_session(self, session_id: str, *, owner: str | None) -> Session:
        """Read a session; None as owner reads anybody's.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        return self._store.read_session(session_id, owner)

    def delete_session(self, session_id: str, *, owner: str | None) -> None:
        """Delete a session with every text of it; what is under way ends, and is forgotten by the next `tidy`.

        Raises:
            NotFoundError: there is none, or it is somebody else's.
        """
        runs = self._store.delete_session(session_id, owner)
        forget_pieces(self._client, runs)
        self._runs.forget_runs(runs)

    def judge(self, run_id: str, *, good: bool, note: str | None, owner: str | None) -> datetime:
        """Keep a person's verdict on an answer; the last one counts.

        Raises:
            NotFoundError: no answered chat of theirs.
        """
        return self._store.judge(run_id, owner, good=good, note=note)

    def read_outcomes(self, *, limit: int = 10_000) -> list[Outcome]:
        """List the newest judged chats for whoever learns from them, oldest of them first."""
        return self._store.read_outcomes(limit=limit)

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

    def foresee(self, asked: Asked) -> Workflow:
        """Write the questions a message would lead to as far as can be told without asking any; never to be run.

        Raises:
            TooLargeError: more than any model takes.
        """
        shaped = route_by_shape(asked)
        if shaped is not None:
            return _document(_question("chat", shaped.model, asked))
        local = self._sorting.categoriser().judge(asked.message, asked.context_tokens)
        tasks = []
        if not trusts_local(self._sorting.source, local, model_available=True):
            tasks.append(_question("category", CATEGORIZER, asked))
        if local.category is Category.H:
            named = (("chat", ACKNOWLEDGER), ("plan", THINKING), ("report", REPORTER))
            tasks += [_question(key, model, asked) for key, model in named]
        else:
            tasks.append(_question("chat", route_by_category(local.category, "").model, asked))
        return _document(*tasks)

    def count(self) -> tuple[int, int]:
        """Count the sessions that are kept, and their messages."""
        return self._store.count()

    def tidy(self) -> int:
        """Delete sessions past their time; give their number."""
        gone = self._store.delete_expired(receipts_age_s=RECEIPTS_AGE_S)
        self._runs.forget_runs(self._store.forgotten_runs())
        return gone


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


def _document(*tasks: Task) -> Workflow:
    return Workflow((Block(0, BlockType.INLINE, tasks),))


def _question(key: str, model: str, asked: Asked) -> Task:
    return Task(key, f"workflow[0].{key}", "model", model, prompt=asked.message)
