"""A worker that is asked to end finishes what it can and hands back the rest; nothing waits longer than its lease."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.engine.documents import inline, linear, tool
from tests.engine.saying import say
from tests.engine.trial import LEASE_S, Trial


def test_a_worker_that_is_asked_to_end_finishes_what_it_holds(trial: Trial) -> None:
    [worker] = trial.workers.start()
    run_id = trial.start([linear(*(tool("nap", f"n{n}", seconds=1) for n in range(20)))])
    trial.await_that(lambda: trial.ask("select count(*) from steps where status = 'running'") == [(20,)])
    worker.terminate()
    assert worker.wait() == 0
    view = trial.view(run_id)
    assert {step.status for step in view.steps} == {"completed"}
    assert {step.attempts for step in view.steps} == {1}
    assert trial.ask("select count(*) from processes") == [(0,)]


@pytest.mark.prove  # its grace is twenty seconds; `tests/integration/runs/test_worker.py` hands back in less
def test_what_a_worker_cannot_finish_in_its_grace_is_handed_back_and_done_elsewhere(
    trial: Trial, tmp_path: Path
) -> None:
    first, _ = trial.workers.start(2, concurrency=3)
    gates = [tool("gate", f"g{n}", path=str(tmp_path / "open")) for n in range(6)]
    run_id = trial.start([linear(*gates), inline(tool("mark", "after"))])
    trial.await_that(lambda: trial.ask("select count(*) from steps where status = 'running'") == [(6,)])
    pid = f"%:{first.process.pid}"
    [[mine]] = trial.ask("select process_id from processes where name like :pid", pid=pid)
    assert trial.ask("select count(*) from steps where owner = :me", me=mine) == [(3,)]
    started = time.monotonic()
    first.terminate()
    assert first.wait(60) == 0
    say(f"the worker ended {time.monotonic() - started:.1f} s after it was asked")
    assert trial.ask("select count(*) from steps where owner = :me", me=mine) == [(0,)]
    assert trial.ask("select distinct crashes from steps where kind = 'tool'") == [(0,)]
    trial.workers.start(concurrency=10)
    (tmp_path / "open").touch()
    view = trial.finish(run_id)
    assert {step.status for step in view.steps} == {"completed"}
    assert [what for _, what, _ in trial.effects(run_id)] == ["mark"]
    assert ("step_handed_back", None) not in trial.events(run_id)
    assert sum(kind == "step_handed_back" for kind, _ in trial.events(run_id)) == 3


def test_a_chain_goes_on_elsewhere_when_its_worker_is_asked_to_end(trial: Trial) -> None:
    [first] = trial.workers.start()
    run_id = trial.start([inline(*(tool("nap", f"n{n}", seconds=0.2) for n in range(15)))])
    trial.await_step(run_id, "n2", "completed")
    first.terminate()
    first.wait()
    ended = time.monotonic()
    trial.workers.start()
    view = trial.finish(run_id)
    say(f"the chain ended {time.monotonic() - ended:.1f} s after the first worker; lease {LEASE_S} s")
    assert {step.status for step in view.steps} == {"completed"}
    assert {step.attempts for step in view.steps} == {1}
