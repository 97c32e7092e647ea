"""One lease a process: its row says that everything it owns is alive.

Renewed every third of its length on a connection of its own, so that no full pool and no long query lets it lapse.
The answer to a renewal says what the journal takes this process to be doing, and what of it was cancelled.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import TYPE_CHECKING, NamedTuple

import psycopg2

from app.runs.journal import connect

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger(__name__)

RENEW = """
insert into processes (process_id, role, name, expires_at)
values (%(id)s, %(role)s, %(name)s, clock_timestamp() + make_interval(secs => %(lease)s))
on conflict (process_id) do update set expires_at = excluded.expires_at
"""
OWNED = """
select s.run_id::text, s.key, s.fence, r.cancel_requested from steps s join runs r using (run_id)
where s.status = 'running' and s.owner = %(id)s
"""
RELEASE = "delete from processes where process_id = %(id)s"


class Owned(NamedTuple):
    """A step that runs here, says the journal."""

    run_id: str
    key: str
    fence: int
    cancelled: bool


class ProcessLease:
    """Keep this process's lease.

    Args:
        dsn: a libpq address.
        process_id: the incarnation.
        role: what the process does, for people.
        lease_s: length of the lease.
        on_renewed: takes the steps that run here according to the journal; called from the lease's thread.
    """

    def __init__(
        self, dsn: str, *, process_id: str, role: str, lease_s: float, on_renewed: Callable[[list[Owned]], None]
    ) -> None:
        self._dsn = dsn
        self._values = {
            "id": process_id,
            "role": role,
            "name": f"{socket.gethostname()}:{os.getpid()}",
            "lease": lease_s,
        }
        self._every_s = lease_s / 3
        self._on_renewed = on_renewed
        self._stop = threading.Event()
        self._held = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self, timeout_s: float = 30) -> None:
        """Take the lease and start renewing it; waits until it is held, so that no claim is ever made without one."""
        self._thread.start()
        if not self._held.wait(timeout_s):
            logger.warning("No lease yet: the database does not answer. Steps start when it does.")

    def close(self) -> None:
        """Stop renewing and give the lease up, so that what is left over is taken at once."""
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        connection = None
        while not self._stop.is_set():
            try:
                connection = connection or connect(self._dsn)
                with connection.cursor() as cursor:
                    cursor.execute(RENEW, self._values)
                    self._held.set()
                    cursor.execute(OWNED, self._values)
                    owned = [Owned(*row) for row in cursor.fetchall()]
                self._on_renewed(owned)
                self._stop.wait(self._every_s)
            except psycopg2.Error as error:
                logger.warning("The lease was not renewed: %s", str(error).splitlines()[0])
                connection = None
                self._stop.wait(0.5)
            except Exception:  # without this thread the process counts as dead while it works on
                logger.exception("The lease was not renewed")
                self._stop.wait(0.5)
        self._release()

    def _release(self) -> None:
        try:
            connection = connect(self._dsn)
            with connection.cursor() as cursor:
                cursor.execute(RELEASE, self._values)
            connection.close()
        except psycopg2.Error:
            logger.info("The lease could not be given up; it will lapse")
