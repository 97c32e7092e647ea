"""One lease a process: its row says that everything it owns is alive.

Renewed every third of its length on a connection of its own, so that no full pool and no long query lets it lapse.
The answer to a renewal carries the runs whose steps this process must stop.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import TYPE_CHECKING

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
CANCELLED = """
select distinct s.run_id::text from steps s join runs r using (run_id)
where s.status = 'running' and s.owner = %(id)s and r.cancel_requested
"""
RELEASE = "delete from processes where process_id = %(id)s"


class ProcessLease:
    """Keep this process's lease.

    Args:
        dsn: a libpq address.
        process_id: the incarnation.
        role: what the process does, for people.
        lease_s: length of the lease.
        on_cancelled: takes the ids of runs that were cancelled while steps of theirs run here; called from the
            lease's thread.
    """

    def __init__(
        self, dsn: str, *, process_id: str, role: str, lease_s: float, on_cancelled: Callable[[list[str]], None]
    ) -> None:
        self._dsn = dsn
        self._values = {
            "id": process_id,
            "role": role,
            "name": f"{socket.gethostname()}:{os.getpid()}",
            "lease": lease_s,
        }
        self._every_s = lease_s / 3
        self._on_cancelled = on_cancelled
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
                    cursor.execute(CANCELLED, self._values)
                    cancelled = [row[0] for row in cursor.fetchall()]
                if cancelled:
                    self._on_cancelled(cancelled)
                self._stop.wait(self._every_s)
            except psycopg2.Error as error:
                logger.warning("The lease was not renewed: %s", str(error).splitlines()[0])
                connection = None
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
