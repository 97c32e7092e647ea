"""A worker outlives Redis.

kombu 5.7.0 on its own transport ends a worker with code 1 when Redis goes away while a late-acknowledged task runs:
it closes a channel twice to put back what was taken. `app/broker_transport.py` puts nothing back, so it does not come
to that.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.runs.model import RunStatus
from tests.conftest import Servers
from tests.engine.documents import inline, linear, tool
from tests.engine.saying import say
from tests.engine.trial import Trial

pytestmark = pytest.mark.chaos
AWAY_S = 3.0


@pytest.mark.parametrize(
    ("pool", "concurrency", "steps", "ends_while_away"),
    [
        pytest.param("custom", 100, 1, False, id="one step in flight and room for more"),
        pytest.param("custom", 100, 50, True, id="steps that end while it is away", marks=pytest.mark.prove),
        pytest.param("custom", 3, 3, False, id="no room for more", marks=pytest.mark.prove),
        pytest.param("prefork", 1, 1, False, id="in a pool of processes", marks=pytest.mark.prove),
        pytest.param("threads", 4, 2, False, id="in a pool of threads", marks=pytest.mark.prove),
    ],
)
def test_a_worker_lives_through_the_loss_of_redis(
    own_trial: Trial,
    own_servers: Servers,
    tmp_path: Path,
    pool: str,
    concurrency: int,
    steps: int,
    ends_while_away: bool,  # noqa: FBT001 - a column of the table above
) -> None:
    own_trial.workers.start(concurrency=concurrency, pool=pool)
    own_trial.make_places()
    gates = [tool("gate", f"g{n}", path=str(tmp_path / "open")) for n in range(steps)]
    run_id = own_trial.start([linear(*gates), inline(tool("mark", "after"))])
    own_trial.await_that(lambda: own_trial.ask("select count(*) from steps where status = 'running'") == [(steps,)])
    own_servers.redis.kill()
    if ends_while_away:
        (tmp_path / "open").touch()
    time.sleep(AWAY_S)
    own_servers.redis.start()
    back = time.monotonic()
    (tmp_path / "open").touch()
    view = own_trial.finish(run_id)
    say(f"the run ended {time.monotonic() - back:.1f} s after Redis was back")
    assert view.status is RunStatus.COMPLETED
    assert {step.attempts for step in view.steps} == {1}
    assert own_trial.run([inline(tool("mark", "later"))]).status is RunStatus.COMPLETED
    [worker] = own_trial.workers.all
    assert worker.alive
