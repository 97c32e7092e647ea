"""The journal's writer: many operations of many steps in one round trip and one commit.

A worker has thousands of steps in flight and one connection for what they write. While one batch commits, the next
gathers; nothing waits on purpose, so an idle worker commits a single operation in about a millisecond and a busy one
two hundred in a few.

    operation   a dict with `op`, `run`, `key` (and `fence` but for a claim); see `app/runs/sql/30_journal.sql`
    answer      a dict; `{"fenced": True}` when the step is no longer this process's
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Any

import psycopg2
import psycopg2.extensions
import psycopg2.extras

from app.database import read_json
from app.errors import FatalError
from app.runs.effects import read_all_effects
from app.runs.text import cleaned_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.runs.model import Effects

logger = logging.getLogger(__name__)

Operation = dict[str, Any]
Answer = dict[str, Any]

BATCH_LIMIT = 200  # operations in a transaction: more hold their runs' rows longer than they save round trips
RETRY_FIRST_S = 0.1
RETRY_MOST_S = 2.0
STATEMENT = "select answers, effects from batuta_journal(%s, %s, %s)"
OPERATION_CHARACTERS_MAX = 32_000_000
"""Four times what a step may be rendered to. Steps that join the outputs of steps double them each time; 256 MB is more
than jsonb takes, and long before that the one writer of a process is held up for seconds by each."""

BATCH_CHARACTERS = 32_000_000  # gathered before a batch is closed; a message over 1 GB ends the connection
PROGRAM_LIMITS = "54"  # class of SQLSTATE: over a limit of PostgreSQL's own
DEADLOCKS = frozenset({"40P01", "40001"})
OUT_OF_MEMORY = "53200"
BOUNDED_TRIES = 5


class _Entry:
    __slots__ = ("future", "loop", "text")

    def __init__(
        self, text: str, loop: asyncio.AbstractEventLoop | None = None, future: asyncio.Future[Answer] | None = None
    ) -> None:
        self.text = text
        self.loop = loop
        self.future = future


class JournalWriter:
    """Write operations from any number of coroutines through one connection.

    Args:
        dsn: a libpq address.
        process_id: this process's incarnation; claims are in its name.
        lease_s: seconds after which a silent process counts as dead.
        publish: takes what a committed batch asks to be published; must not raise and must not block.
    """

    def __init__(self, dsn: str, *, process_id: str, lease_s: float, publish: Callable[[Effects], None]) -> None:
        self._dsn = dsn
        self._process_id = process_id
        self._lease_s = lease_s
        self._publish = publish
        self._entries: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._connection: psycopg2.extensions.connection | None = None
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._closing = False

    def start(self) -> None:
        """Start the writing thread; the connection is made with the first operation."""
        self._thread.start()

    def close(self, timeout_s: float = 5) -> None:
        """Write what is queued, then stop; give up after `timeout_s` when the database is away."""
        self._closing = True
        self._entries.put(None)
        self._thread.join(timeout_s)

    async def write(self, operation: Operation) -> Answer:
        """Write one operation and wait for its commit, however long the database is away.

        Returns:
            The operation's answer.

        Raises:
            TypeError: the operation holds what is not JSON.
            FatalError: it is over `OPERATION_CHARACTERS_MAX` (`output_too_large`).
            psycopg2.Error: the operation itself cannot be written; it alone, not its neighbours in the batch.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._entries.put(_Entry(_written(operation), loop, future))
        return await future

    def write_soon(self, operation: Operation) -> None:
        """Write one operation without waiting; a failure is logged and left to recovery."""
        self._entries.put(_Entry(cleaned_json(operation)))

    def _run(self) -> None:
        while True:
            first = self._entries.get()
            if first is None:
                return
            batch = [first]
            stop = False
            characters = len(first.text)
            while len(batch) < BATCH_LIMIT and characters < BATCH_CHARACTERS and not self._entries.empty():
                entry = self._entries.get()
                if entry is None:
                    stop = True
                    break
                batch.append(entry)
                characters += len(entry.text)
            try:
                self._write_batch(batch)
            except Exception as error:  # the thread must outlive anything: every step of the process waits for it
                logger.exception("A batch of the journal failed")
                for entry in batch:
                    _fail(entry, error)
            if stop:
                return

    def _write_batch(self, batch: list[_Entry]) -> None:
        try:
            answers = self._execute("[" + ",".join(entry.text for entry in batch) + "]")
        except psycopg2.Error as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            # One operation of the batch cannot be written: find it by writing each alone.
            for entry in batch:
                self._write_batch([entry])
            return
        _resolve(batch, answers)

    def _execute(self, text: str) -> list[Answer]:
        delay_s = RETRY_FIRST_S
        tries = 0
        while True:
            try:
                answers, effects = self._send(text)
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                if not _may_pass(error):
                    raise
                tries += 1
                self._disconnect()
                deadlock = error.pgcode in DEADLOCKS
                if (_is_bounded(error) and tries >= BOUNDED_TRIES) or (self._closing and not deadlock):
                    raise
                logger.warning("The journal waits for the database: %s", str(error).splitlines()[0])
                time.sleep(0 if deadlock else delay_s)
                delay_s = min(delay_s * 2, RETRY_MOST_S)
                continue
            self._publish(read_all_effects(effects))
            return answers

    def _send(self, text: str) -> tuple[list[Answer], list[dict[str, Any]]]:
        if self._connection is None:
            self._connection = connect(self._dsn)
        with self._connection.cursor() as cursor:
            cursor.execute(STATEMENT, (self._process_id, self._lease_s, text))
            row = cursor.fetchone()
        if row is None:  # pragma: no cover - the function always returns a row
            raise psycopg2.InternalError("the journal answered nothing")
        return row[0], row[1]

    def _disconnect(self) -> None:
        if self._connection is not None:
            try:
                self._connection.close()
            except psycopg2.Error:
                logger.debug("closing a broken connection failed", exc_info=True)
            self._connection = None


def _written(operation: Operation) -> str:
    text = cleaned_json(operation)
    # An answer of a vendor's is paid for and bounded by the vendor; it is kept whatever its size.
    if len(text) > OPERATION_CHARACTERS_MAX and operation["op"] != "answer_call":
        raise FatalError(
            f"The step's data are over {OPERATION_CHARACTERS_MAX} characters; make them smaller, or fewer.",
            code="output_too_large",
        )
    return text


def _may_pass(error: psycopg2.Error) -> bool:
    """Whether the same batch can be written later; what is over one of PostgreSQL's limits never can.

    The driver calls both an OperationalError. Trying the second kind again would stop every run of the process.
    """
    return error.pgcode is None or not error.pgcode.startswith(PROGRAM_LIMITS)


def _is_bounded(error: psycopg2.Error) -> bool:
    # A deadlock is gone at once; memory that is still short after some tries is what the batch itself asks for.
    return error.pgcode in DEADLOCKS or error.pgcode == OUT_OF_MEMORY


def connect(dsn: str) -> psycopg2.extensions.connection:
    """Open an autocommit connection that reads jsonb with the fast parser."""
    connection = psycopg2.connect(dsn, connect_timeout=5, application_name="batuta journal", options="-c timezone=UTC")
    connection.autocommit = True
    psycopg2.extras.register_default_jsonb(connection, loads=read_json)
    return connection


def _resolve(batch: list[_Entry], answers: list[Answer]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Answer], Answer]]] = {}
    for entry, answer in zip(batch, answers, strict=True):
        if entry.loop is None or entry.future is None:
            continue
        by_loop.setdefault(entry.loop, []).append((entry.future, answer))
    for loop, pairs in by_loop.items():
        _call(loop, _set_results, pairs)


def _set_results(pairs: list[tuple[asyncio.Future[Answer], Answer]]) -> None:
    for future, answer in pairs:
        if not future.done():
            future.set_result(answer)


def _fail(entry: _Entry, error: Exception) -> None:
    loop, future = entry.loop, entry.future
    if loop is None or future is None:
        logger.warning("An operation could not be written: %s", error)
        return

    def set_exception() -> None:
        if not future.done():
            future.set_exception(error)

    _call(loop, set_exception)


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., None], *arguments: Any) -> None:
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:  # the loop was closed by a shutdown; nobody waits any more
        logger.debug("an answer came after the loop had closed")
