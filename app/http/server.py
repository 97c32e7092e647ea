"""gunicorn's threaded worker, made safe from callers who are slow to say what they want.

gunicorn hands a connection to a thread with its first byte and reads the head there, for as long as the caller likes:
as many half-sent heads as there are threads, sent without any token, and nobody else is answered. Here a connection
waits in the poller until its whole head lies in the socket's buffer.

Source: `gunicorn/workers/gthread.py`, gunicorn 27.0, for what a worker calls and when.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker  # type: ignore[import-untyped]  # it ships none

HEAD_S = 10.0
"""How long a caller may take for its head."""

SILENCE_S = 20
"""How long a thread waits for the next part of a body, or for a caller to take the next part of an answer."""

HEAD_LENGTH_MAX = 65_536
"""Bytes; a longer head goes to a thread unfinished, where gunicorn's own limits refuse it."""

LOOK_AGAIN_S = 0.05
_HEAD_END = b"\r\n\r\n"
_TIMEVAL = struct.pack("ll", SILENCE_S, 0)


class PatientWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn ships no types
    """Give a thread only to callers who have said what they want."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._silent: dict[Any, float] = {}  # in the poller, nothing received yet, to when
        self._begun: dict[Any, float] = {}  # part of a head received: looked at again, the poller would not rest

    def enqueue_req(self, conn: Any) -> None:
        """Hand a connection to a thread, or wait for its head first. Called on the worker's main thread."""
        if conn.parser is None:
            for side in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                conn.sock.setsockopt(socket.SOL_SOCKET, side, _TIMEVAL)
        elif conn.parser.unreader.buf.getvalue():  # read together with the request before it
            super().enqueue_req(conn)
            return
        self._look(conn, time.monotonic() + HEAD_S)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Do what the poller finds, then look again at heads that were begun."""
        super().wait_for_and_dispatch_events(min(timeout, LOOK_AGAIN_S) if self._begun else timeout)
        for conn, ends_at in list(self._begun.items()):
            del self._begun[conn]
            self._look(conn, ends_at)

    def murder_pending(self) -> None:
        """Close connections that were silent for too long."""
        super().murder_pending()
        now = time.monotonic()
        for conn in [conn for conn, ends_at in self._silent.items() if ends_at <= now]:
            self._forget_silent(conn)
            self._hang_up(conn)

    def _look(self, conn: Any, ends_at: float) -> None:
        try:
            head = conn.sock.recv(HEAD_LENGTH_MAX, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            self._silent[conn] = ends_at
            conn.sock.setblocking(False)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_first_bytes, conn))
            return
        except OSError:
            self._hang_up(conn)
            return
        if _HEAD_END in head or len(head) >= HEAD_LENGTH_MAX or self.cfg.is_ssl:
            conn.data_ready = True
            super().enqueue_req(conn)
        elif head and time.monotonic() < ends_at:
            self._begun[conn] = ends_at
        else:
            self._hang_up(conn)

    def _on_first_bytes(self, conn: Any, _: Any) -> None:
        self._look(conn, self._forget_silent(conn))

    def _forget_silent(self, conn: Any) -> float:
        self.poller.unregister(conn.sock)
        return self._silent.pop(conn)

    def _hang_up(self, conn: Any) -> None:
        self.nr_conns -= 1
        conn.close()
