from __future__ import annotations

import signal
import threading

from app.http.stopping import close_on_stop
from app.http.waiting import WaitingRoom


def test_a_stop_ends_the_waits_and_then_does_what_the_server_does_at_it() -> None:
    room, heard = WaitingRoom(1), threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: heard.set())
    try:
        close_on_stop(room)
        signal.raise_signal(signal.SIGTERM)
        assert room.closing
        assert heard.is_set()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_in_another_thread_there_is_nothing_to_hook_into() -> None:
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=close_on_stop, args=(WaitingRoom(1),))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) == before
