"""A breaker over four processes, as the vendor sees it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from app.schema import ROOT
from simulator import Simulator
from tests.engine.saying import say

ASKER = Path(__file__).with_name("asker.py")
CHAT = "/openai/v1/chat"
PROCESSES = 4
LATE_S = 0.5
"""How long after its time a probe may come where all processors are busy."""


@contextmanager
def askers(redis_url: str, simulator: Simulator, open_s: float) -> Iterator[None]:
    """Four processes that ask as fast as they may."""
    processes = [
        subprocess.Popen(
            [sys.executable, str(ASKER), redis_url, simulator.openai_url, f"p{n}", str(open_s)],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
        )
        for n in range(PROCESSES)
    ]
    try:
        yield
        for process in processes:
            process.communicate(timeout=30)
            assert process.returncode == 0
    finally:
        for process in processes:
            process.kill()
            process.wait()


def names(simulator: Simulator) -> set[str]:
    return {entry["body"]["messages"][-1]["content"] for entry in simulator.log(CHAT)}


def wait_for(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def play(redis_url: str, simulator: Simulator, open_s: float) -> None:
    with askers(redis_url, simulator, open_s):
        wait_for(lambda: len(names(simulator)) == PROCESSES)  # the first request of a process takes its time
        simulator.reset()
        simulator.fault(CHAT, status=500, times=None)
        wait_for(lambda: sum(entry["status"] == 500 for entry in simulator.log(CHAT)) >= 5)
        time.sleep(2.5 * open_s)
        broken = [entry["at"] for entry in simulator.log(CHAT) if entry["status"] == 500]
        simulator.reset()  # the vendor is well again
        time.sleep(open_s + 2)
        well, back = simulator.log(CHAT), names(simulator)

    gaps = [later - earlier for earlier, later in pairwise(broken)]
    quiet = [gap for gap in gaps if gap > open_s / 2]
    say(f"{len(broken) - len(quiet)} failures, then probes after {', '.join(f'{gap:.2f} s' for gap in quiet)}")
    assert 5 <= len(broken) - len(quiet) <= 5 + PROCESSES - 1  # what was under way when it opened
    assert gaps[-2:] == quiet  # two probes, each alone
    assert all(open_s - 0.1 <= gap <= open_s + LATE_S for gap in quiet)
    assert well[0]["at"] - broken[-1] >= open_s - 0.1
    assert back == {f"p{n}" for n in range(PROCESSES)}
    assert len(well) > 40  # all go on


def test_after_five_failures_four_processes_send_one_probe_at_a_time_and_then_go_on(
    redis_url: str, simulator: Simulator
) -> None:
    play(redis_url, simulator, open_s=1.5)


@pytest.mark.prove
def test_after_five_failures_nothing_is_sent_for_sixty_seconds(redis_url: str, simulator: Simulator) -> None:
    play(redis_url, simulator, open_s=60)
