"""End waits when the web process is asked to stop: callers hear where their run is, not a closed connection."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.http.waiting import WaitingRoom


def close_on_stop(room: WaitingRoom) -> None:
    """Close a waiting room at SIGTERM, and then do what the web server does at it.

    A web server calls the application's factory in its main thread, after it has set its own handlers; elsewhere
    (a factory called in another thread) there is nothing to hook into.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    servers_own = signal.getsignal(signal.SIGTERM)

    def stop(number: int, frame: Any) -> None:
        room.close()
        if callable(servers_own):
            servers_own(number, frame)
        elif servers_own == signal.SIG_DFL:
            raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
