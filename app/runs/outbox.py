"""Deliver callbacks: signed, retried with growing pauses for a day, each delivery under one id.

The outbox row is written in the transaction that ends the run. A delivery can reach its receiver twice (killed between
the answer and our commit); `X-Batuta-Delivery` is the same then, so that it can tell.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
import sqlalchemy as sa
import sqlalchemy.exc

from app.errors import BatutaError
from app.runs.callback_address import callback_problem
from app.runs.text import cleaned_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Engine

    from app.runs.model import RunView
    from app.runs.store import PgRunStore

logger = logging.getLogger(__name__)

EVERY_S = 1.0
TIMEOUT_S = (5, 20)  # connect, read
HOLD_S = 60  # a delivery under way is nobody else's for so long; more than both time limits together
FIRST_PAUSE_S = 2
MOST_PAUSE_S = 3600
SIDE_BY_SIDE = 8  # receivers that do not answer hold up so many deliveries of this process, and not the others
HTTP_OK_END = 300

CLAIM = sa.text("""
update outbox set tries = tries + 1, not_before = clock_timestamp() + make_interval(secs => :hold)
where delivery_id = (
    select delivery_id from outbox where status = 'pending' and not_before <= clock_timestamp()
    order by not_before limit 1 for update skip locked)
returning delivery_id::text, run_id::text, url, tries,
    clock_timestamp() - created_at > make_interval(secs => :window) as late
""")
TRY_AGAIN = sa.text("""
update outbox set last_error = :error, status = case when :over then 'failed' else 'pending' end,
    not_before = clock_timestamp() + make_interval(secs => least(:most, :first * power(2, tries - 1)))
where delivery_id = cast(:delivery as uuid)
""")
DELIVERED = sa.text("""
update outbox set last_error = null, status = 'delivered', delivered_at = clock_timestamp()
where delivery_id = cast(:delivery as uuid)
""")


@dataclass(frozen=True)
class CallbackPolicy:
    """Whom we call, how we sign, how long we try.

    Args:
        allowed_hosts: exact host names, or `host:port`; checked again before each delivery.
        secret: key of the HMAC.
        window_s: seconds after the run's end when we give up.
    """

    allowed_hosts: tuple[str, ...]
    secret: str
    window_s: float


class CallbackDelivery:
    """Deliver what is due, in a thread of any worker; several may run side by side.

    Args:
        engine: the process's pool.
        store: reads the run.
        shape: makes the body, what the POST would have answered.
    """

    def __init__(
        self, engine: Engine, store: PgRunStore, policy: CallbackPolicy, shape: Callable[[RunView], dict[str, Any]]
    ) -> None:
        self._engine = engine
        self._store = store
        self._policy = policy
        self._shape = shape
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="callbacks", daemon=True)
        self._free = threading.Semaphore(SIDE_BY_SIDE)

    def start(self) -> None:
        """Start looking for what is due."""
        self._thread.start()

    def close(self) -> None:
        """Begin no more deliveries; one under way that is not heard of is made again by another process."""
        self._stop.set()
        self._thread.join(2)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                while self._begin_one():
                    pass
            except sqlalchemy.exc.SQLAlchemyError as error:
                logger.warning("Callbacks wait for the database: %s", str(error).splitlines()[0])

    def _begin_one(self) -> bool:
        if self._stop.is_set() or not self._free.acquire(timeout=EVERY_S):
            return False
        row = None
        try:
            row = self._claim()
        finally:
            if row is None:
                self._free.release()
        if row is None:
            return False
        threading.Thread(target=self._serve, args=(row,), name="callback", daemon=True).start()
        return True

    def _serve(self, row: sa.Row[Any]) -> None:
        try:
            self._deliver_row(row)
        except Exception:  # it comes again; the others must not suffer
            logger.exception("A callback could not be made")
        finally:
            self._free.release()

    def deliver_one(self) -> bool:
        """Deliver the callback that waited longest; False when none is due."""
        row = self._claim()
        if row is not None:
            self._deliver_row(row)
        return row is not None

    def _claim(self) -> sa.Row[Any] | None:
        with self._engine.begin() as connection:
            return connection.execute(CLAIM, {"hold": HOLD_S, "window": self._policy.window_s}).one_or_none()

    def _deliver_row(self, row: sa.Row[Any]) -> None:
        try:
            error, over = self._deliver(row.delivery_id, row.run_id, row.url), row.late
        except _UndeliverableError as undeliverable:
            error, over = str(undeliverable), True
        self._note(row.delivery_id, error, over=over)

    def _deliver(self, delivery_id: str, run_id: str, url: str) -> str | None:
        body = self._body(run_id, url)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Batuta",
            "X-Batuta-Delivery": delivery_id,
            "X-Batuta-Signature": sign(body, self._policy.secret),
        }
        try:
            # No redirects: the allow-list judged this address, not where it points. What is answered is not read.
            with (
                _own_session() as session,
                session.post(
                    url, data=body, headers=headers, timeout=TIMEOUT_S, allow_redirects=False, stream=True
                ) as answer,
            ):
                return None if answer.status_code < HTTP_OK_END else f"HTTP {answer.status_code}"
        except requests.RequestException as error:
            return type(error).__name__

    def _body(self, run_id: str, url: str) -> bytes:
        problem = callback_problem(url, self._policy.allowed_hosts)
        if problem is not None:
            raise _UndeliverableError(problem)
        view = self._store.read_run(run_id)
        if view is None:
            raise _UndeliverableError("The run is gone.")
        if not view.status.ended:
            raise _UndeliverableError("The run was begun again; its next end is called back.")
        try:
            return cleaned_json(self._shape(view)).encode()
        except Exception as error:  # a fault of a kind's own shape must not come again for a day
            logger.exception("the answer of run %s cannot be written", run_id)
            raise _UndeliverableError(f"The answer cannot be written ({type(error).__name__}).") from error

    def _note(self, delivery_id: str, error: str | None, *, over: bool) -> None:
        with self._engine.begin() as connection:
            if error is None:
                connection.execute(DELIVERED, {"delivery": delivery_id})
            else:
                values = {"delivery": delivery_id, "error": error, "over": over}
                connection.execute(TRY_AGAIN, {**values, "most": MOST_PAUSE_S, "first": FIRST_PAUSE_S})


class _UndeliverableError(BatutaError):
    """A callback that no further try can deliver."""


def _own_session() -> requests.Session:
    """Make a session that takes no proxy and no password from the machine's environment."""
    session = requests.Session()
    session.trust_env = False
    return session


def sign(body: bytes, secret: str) -> str:
    """Sign a raw body: `sha256=` and the hex HMAC under the shared secret."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
