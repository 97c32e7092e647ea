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

from app.runs import tables
from app.runs.text import cleaned_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Engine

    from app.runs.model import RunView
    from app.runs.store import PgRunStore

logger = logging.getLogger(__name__)

EVERY_S = 1.0
TIMEOUT_S = (5, 20)  # connect, read
FIRST_PAUSE_S = 2
MOST_PAUSE_S = 3600
LIMIT = 20
HTTP_OK_END = 300

CLAIM = sa.text("""
update outbox set tries = tries + 1,
    not_before = clock_timestamp() + make_interval(secs => least(:most, :first * power(2, tries)))
where delivery_id in (
    select delivery_id from outbox where status = 'pending' and not_before <= clock_timestamp()
    order by not_before limit :limit for update skip locked)
returning delivery_id::text, run_id::text, url, tries, created_at,
    clock_timestamp() - created_at > make_interval(secs => :window) as late
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

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop after the delivery under way."""
        self._stop.set()
        self._thread.join(2)

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            try:
                self.deliver_due()
            except sqlalchemy.exc.SQLAlchemyError as error:
                logger.warning("Callbacks wait for the database: %s", str(error).splitlines()[0])
            except Exception:  # the thread must outlive one delivery's fault
                logger.exception("A callback could not be made")

    def deliver_due(self) -> int:
        """Deliver every callback whose time has come; returns how many were tried."""
        values = {
            "most": MOST_PAUSE_S,
            "first": FIRST_PAUSE_S,
            "limit": LIMIT,
            "window": self._policy.window_s,
        }
        with self._engine.begin() as connection:
            due = connection.execute(CLAIM, values).all()
        for row in due:
            error = self._deliver(row.delivery_id, row.run_id, row.url)
            self._note(row.delivery_id, error, late=row.late)
        return len(due)

    def _deliver(self, delivery_id: str, run_id: str, url: str) -> str | None:
        view = self._store.read_run(run_id)
        if view is None:
            return "the run is gone"
        body = cleaned_json(self._shape(view)).encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Batuta",
            "X-Batuta-Delivery": delivery_id,
            "X-Batuta-Signature": sign(body, self._policy.secret),
        }
        try:
            # No redirects: the allow-list judged this address, not where it points.
            answer = requests.post(url, data=body, headers=headers, timeout=TIMEOUT_S, allow_redirects=False)
        except requests.RequestException as error:
            return type(error).__name__
        return None if answer.status_code < HTTP_OK_END else f"HTTP {answer.status_code}"

    def _note(self, delivery_id: str, error: str | None, *, late: bool) -> None:
        outbox = tables.outbox
        values: dict[str, Any] = {"last_error": error}
        if error is None:
            values.update(status="delivered", delivered_at=sa.func.clock_timestamp())
        elif late:
            values.update(status="failed")
        with self._engine.begin() as connection:
            connection.execute(sa.update(outbox).where(outbox.c.delivery_id == delivery_id).values(**values))


def sign(body: bytes, secret: str) -> str:
    """Sign a raw body: `sha256=` and the hex HMAC under the shared secret."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
