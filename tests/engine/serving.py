"""The HTTP door of a composed application, and the quiet between two tests that share it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from werkzeug.serving import make_server

from app.errors import ConflictError
from app.http import create_app
from simulator import Simulator
from tests.engine.trial import Trial

_ACTIVE = "select run_id::text from runs where status not in ('completed', 'partial', 'failed', 'cancelled')"
_RUNNING = "select count(*) from steps where status = 'running'"


@contextlib.contextmanager
def serving(trial: Trial) -> Iterator[str]:
    """Serve a composed application at an address."""
    server = make_server("127.0.0.1", 0, create_app(trial.application), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def quieten(trial: Trial, simulator: Simulator) -> None:
    """Let what the test before started come to its end, so that none of its questions is taken for this one's."""
    for (run_id,) in trial.ask(_ACTIVE):
        with contextlib.suppress(ConflictError):  # it has just ended by itself
            trial.runs.cancel_run(run_id, owner=None)
    trial.await_that(lambda: trial.ask(_RUNNING) == [(0,)])
    simulator.reset()
