"""Write what several threads bring at the same time in one transaction.

Whoever comes while nobody writes, writes at once, without any hand-over; what comes meanwhile waits and is written
together, by one of those who wait. So a lock or a slow disk costs a crowd one wait and not one after another, and each
caller still returns only after the commit that holds what it brought.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class _Ticket(Generic[Item, Answer]):
    """What one caller brought, and what came of it."""

    def __init__(self, item: Item) -> None:
        self.item = item
        self.turn = threading.Event()  # set when it has an answer, or has to write
        self.answers: tuple[Answer, ...] = ()
        self.error: BaseException | None = None

    @property
    def served(self) -> bool:
        return bool(self.answers) or self.error is not None

    def take(self) -> Answer:
        if self.error is not None:
            raise self.error
        return self.answers[0]


class Gathering(Generic[Item, Answer]):
    """Gather items of many threads for one writer at a time.

    Args:
        write: writes items in their order and returns one answer for each, all in one transaction.
        most: items a transaction, so that the first of a flood does not wait for the last.
    """

    def __init__(self, write: Callable[[Sequence[Item]], Sequence[Answer]], most: int) -> None:
        self._write = write
        self._most = most
        self._lock = threading.Lock()
        self._waiting: list[_Ticket[Item, Answer]] = []
        self._writing = False

    def bring(self, item: Item) -> Answer:
        """Have an item written; returns its answer after the commit.

        Raises:
            BaseException: what `write` raised for it; whether it was written is then as open as after any lost commit.
        """
        ticket: _Ticket[Item, Answer] = _Ticket(item)
        with self._lock:
            self._waiting.append(ticket)
            writes = not self._writing
            self._writing = True
        if not writes:
            ticket.turn.wait()
        if not ticket.served:
            self._serve()
        return ticket.take()

    def _serve(self) -> None:
        """Write what has come so far, one's own among it, and let the next in line write what came meanwhile."""
        with self._lock:
            served, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        try:
            self._fill(served)
        finally:
            with self._lock:
                following = self._waiting[0] if self._waiting else None
                self._writing = following is not None
            for ticket in served:
                ticket.turn.set()
            if following is not None:
                following.turn.set()

    def _fill(self, tickets: Sequence[_Ticket[Item, Answer]]) -> None:
        try:
            answers = self._write([ticket.item for ticket in tickets])
        except BaseException as error:  # noqa: BLE001 - nobody may be left waiting, whatever ended this thread's work
            if len(tickets) > 1 and _concerns_one(error):
                for ticket in tickets:
                    self._fill([ticket])
                return
            for ticket in tickets:
                ticket.error = error
            return
        for ticket, answer in zip(tickets, answers, strict=True):
            ticket.answers = (answer,)


def _concerns_one(error: BaseException) -> bool:
    """Whether the others may yet be written: the database refused something, and is there."""
    away = isinstance(error, OperationalError | InterfaceError)
    return isinstance(error, DBAPIError) and not away and not error.connection_invalidated
