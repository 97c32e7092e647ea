"""How long jobs of known lengths take together: side by side, after each other, in so many lanes."""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

_SIMULATED_JOBS: Final = 20_000  # beyond it playing the schedule through costs a web request tens of milliseconds


@dataclass(frozen=True, slots=True)
class Job:
    """Some equal pieces of work that may run side by side.

    Args:
        key: names it.
        seconds: of one piece.
        count: pieces, 0 or more.
        depends_on: keys of jobs all pieces of which end first; those stand before this one.
    """

    key: str
    seconds: float
    count: int = 1
    depends_on: tuple[str, ...] = ()


def critical_path_s(seconds: Mapping[str, float], depends_on: Mapping[str, Sequence[str]]) -> float:
    """Measure the longest way through jobs that each start when all they depend on have ended.

    Args:
        seconds: by key, each key after those it depends on.
        depends_on: keys by key.
    """
    ends: dict[str, float] = {}
    for key, length in seconds.items():
        ends[key] = length + max((ends[before] for before in depends_on.get(key, ())), default=0)
    return max(ends.values(), default=0)


def makespan_s(jobs: Sequence[Job], lanes: int | None) -> float:
    """Measure when the last job ends if each piece starts as soon as it may and a lane is free, in the given order.

    Args:
        jobs: in order, each after those it depends on.
        lanes: pieces at once; None for no bound.

    Returns:
        Seconds; for more than 20,000 pieces in fewer lanes a lower bound, short by one longest way at most.
    """
    lengths = {job.key: job.seconds if job.count else 0.0 for job in jobs}
    longest = critical_path_s(lengths, {job.key: job.depends_on for job in jobs})
    pieces = sum(job.count for job in jobs)
    if lanes is None or lanes >= pieces:
        return longest
    if pieces > _SIMULATED_JOBS:
        return max(longest, math.fsum(job.seconds * job.count for job in jobs) / lanes)
    return _Lanes(jobs, lanes).play()


class _Lanes:
    def __init__(self, jobs: Sequence[Job], lanes: int) -> None:
        self._jobs = jobs
        self._free = lanes
        self._unstarted = [job.count for job in jobs]
        self._unfinished = [job.count for job in jobs]
        self._waits_for = [len(job.depends_on) for job in jobs]
        place = {job.key: position for position, job in enumerate(jobs)}
        self._after: list[list[int]] = [[] for _ in jobs]
        for position, job in enumerate(jobs):
            for key in job.depends_on:
                self._after[place[key]].append(position)
        self._ready: list[int] = []
        self._running: list[tuple[float, int]] = []

    def play(self) -> float:
        now = 0.0
        # Picked before any is opened: a job of no pieces ends at once and opens its followers itself.
        for position in [position for position, count in enumerate(self._waits_for) if count == 0]:
            self._open(position)
        self._start(now)
        while self._running:
            now, position = heapq.heappop(self._running)
            self._free += 1
            self._unfinished[position] -= 1
            if self._unfinished[position] == 0:
                self._end(position)
            if not self._running or self._running[0][0] > now:  # all that end at one instant end first
                self._start(now)
        return now

    def _start(self, now: float) -> None:
        while self._ready and self._free:
            position = self._ready[0]
            heapq.heappush(self._running, (now + self._jobs[position].seconds, position))
            self._free -= 1
            self._unstarted[position] -= 1
            if self._unstarted[position] == 0:
                heapq.heappop(self._ready)

    def _open(self, position: int) -> None:
        if self._unstarted[position]:
            heapq.heappush(self._ready, position)
        else:
            self._end(position)

    def _end(self, position: int) -> None:
        for follower in self._after[position]:
            self._waits_for[follower] -= 1
            if self._waits_for[follower] == 0:
                self._open(follower)
