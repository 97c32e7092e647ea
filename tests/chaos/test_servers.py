"""Redis and PostgreSQL emptied, killed and restarted while runs are under way."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from app.runs.model import RunStatus
from app.runs.recovery import EPOCH_KEY
from tests.conftest import Servers
from tests.engine.documents import inline, linear, tool
from tests.engine.promises import hold_promises
from tests.engine.saying import say
from tests.engine.trial import LEASE_S, Trial

pytestmark = pytest.mark.chaos
BROKEN_S = 90.0


def steps_under_way(tmp_path: Path) -> list[dict[str, object]]:
    """Ten steps that wait at a gate, and after them a chain."""
    gates = [tool("gate", f"g{n}", path=str(tmp_path / "open")) for n in range(10)]
    return [linear(*gates), inline(*(tool("work", f"c{n}", seconds=0.1) for n in range(10)))]


def begin(trial: Trial, tmp_path: Path, workers: int = 2) -> str:
    trial.workers.start(workers)
    run_id = trial.start(steps_under_way(tmp_path))
    trial.await_that(lambda: trial.ask("select count(*) from steps where status = 'running'") == [(10,)])
    return run_id


def finish(trial: Trial, run_id: str, since: float, what: str) -> None:
    """Wait for the end, say how long it took, and hold the run to its promises."""
    trial.finish(run_id, BROKEN_S)
    say(f"{what}: the run ended {time.monotonic() - since:.1f} s after; lease {LEASE_S} s")
    hold_promises(trial, run_id)


def test_a_redis_that_is_emptied_in_the_middle_of_a_run_hangs_nothing(own_trial: Trial, tmp_path: Path) -> None:
    run_id = begin(own_trial, tmp_path)
    waiting = own_trial.start([inline(tool("mark", "other"))])
    epoch = own_trial.application.redis.get(EPOCH_KEY)
    before = own_trial.application.redis.info("server")["run_id"]
    emptied = time.monotonic()
    own_trial.application.redis.flushall()
    assert own_trial.application.redis.info("server")["run_id"] == before, "the server's own id tells nothing"
    (tmp_path / "open").touch()
    finish(own_trial, run_id, emptied, "Redis emptied")
    own_trial.finish(waiting)
    own_trial.await_that(lambda: own_trial.application.redis.get(EPOCH_KEY) not in {None, epoch})


def test_messages_that_were_lost_with_redis_memory_are_sent_again_at_once(own_trial: Trial) -> None:
    own_trial.make_places()
    run_ids = [own_trial.start([inline(tool("mark", "a"))]) for _ in range(1200)]
    own_trial.workers.start(ready=True)
    own_trial.await_that(lambda: own_trial.application.redis.get(EPOCH_KEY) is not None)
    emptied = time.monotonic()
    own_trial.application.redis.flushall()
    own_trial.await_that(
        lambda: own_trial.ask("select count(*) from runs where status = 'completed'") == [(len(run_ids),)], BROKEN_S
    )
    say(f"1200 runs ended {time.monotonic() - emptied:.1f} s after Redis was emptied under them")


def test_a_redis_that_is_killed_and_comes_back_empty_hangs_nothing(
    own_trial: Trial, own_servers: Servers, tmp_path: Path
) -> None:
    run_id = begin(own_trial, tmp_path)
    own_servers.redis.kill()
    (tmp_path / "open").touch()
    # Steps end in the journal while Redis is away, and have ended, whatever Celery makes of it.
    own_trial.await_that(
        lambda: own_trial.ask("select count(*) from steps where key like 'g%' and status = 'completed'") == [(10,)]
    )
    own_servers.redis.forget()
    own_servers.redis.start()
    finish(own_trial, run_id, time.monotonic(), "Redis back, empty")
    assert len(own_trial.workers.living) == 2
    assert {step.attempts for step in own_trial.view(run_id).steps} == {1}


def test_a_run_that_is_started_while_redis_is_away_is_kept_and_done_when_it_is_back(
    own_trial: Trial, own_servers: Servers
) -> None:
    own_trial.workers.start()
    own_trial.run([inline(tool("mark", "a"))])  # so that connections are open that will break
    own_servers.redis.kill()
    started = time.monotonic()
    run_ids = [own_trial.start([inline(tool("mark", "a"))]) for _ in range(10)]
    say(f"ten starts without Redis took {time.monotonic() - started:.2f} s")
    assert time.monotonic() - started < 20, "each waited for Redis"
    own_servers.redis.start()
    back = time.monotonic()
    for run_id in run_ids:
        assert own_trial.finish(run_id, BROKEN_S).status is RunStatus.COMPLETED
    say(f"done {time.monotonic() - back:.1f} s after Redis was back")


@pytest.mark.parametrize("how", [pytest.param("stopped", marks=pytest.mark.prove), "killed"])
def test_a_postgres_that_is_restarted_in_the_middle_of_a_run_costs_no_try(
    own_trial: Trial, own_servers: Servers, tmp_path: Path, how: str
) -> None:
    run_id = begin(own_trial, tmp_path)
    own_trial.application.engine.dispose()
    if how == "killed":
        own_servers.postgres.kill()
    else:
        own_servers.postgres.stop()
    (tmp_path / "open").touch()
    time.sleep(2 * LEASE_S)  # longer than any lease; nobody could renew
    own_servers.postgres.start()
    finish(own_trial, run_id, time.monotonic(), f"PostgreSQL {how}, back")
    assert len(own_trial.workers.living) == 2
    assert {step.attempts for step in own_trial.view(run_id).steps} == {1}
    assert own_trial.ask("select distinct crashes from steps") == [(0,)]


def test_who_waits_for_a_run_is_told_its_end_though_redis_was_emptied_under_it(
    own_trial: Trial, tmp_path: Path
) -> None:
    run_id = begin(own_trial, tmp_path)
    ended: list[object] = []
    waiter = threading.Thread(target=lambda: ended.append(own_trial.runs.wait_for_end(run_id, 60)))
    waiter.start()
    own_trial.application.redis.flushall()
    own_trial.application.redis.client_kill_filter(_type="pubsub")
    (tmp_path / "open").touch()
    waiter.join(BROKEN_S)
    assert ended
    assert ended[0] is not None


@pytest.mark.prove
@pytest.mark.parametrize("_round", range(5))
def test_servers_and_workers_that_die_again_and_again_hang_nothing(
    own_trial: Trial, own_servers: Servers, _round: int
) -> None:
    own_trial.workers.start(2)
    blocks = [
        inline(*(tool("work", f"a{n}", seconds=0.3) for n in range(10))),
        linear(*(tool("work", f"b{n}", seconds=0.5) for n in range(30))),
    ]
    run_ids = [own_trial.start(blocks) for _ in range(5)]
    for _ in range(3):
        time.sleep(2)
        own_servers.redis.kill()
        own_trial.workers.living[0].kill()
        own_servers.redis.forget()
        own_servers.redis.start()
        own_trial.workers.start(ready=False)
        time.sleep(2)
        own_trial.application.engine.dispose()
        own_servers.postgres.kill()
        own_servers.postgres.start()
    for run_id in run_ids:
        own_trial.finish(run_id, BROKEN_S)
        hold_promises(own_trial, run_id)
