"""Read from /proc what processes cost: processor time, and memory at its highest."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Self

PROC = Path("/proc")
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 1024**2
SAMPLE_EVERY_S = 0.25  # often enough to see a peak that lasts; a sample costs about a millisecond


@dataclass(frozen=True)
class Process:
    """One line of /proc/PID/stat, as far as it is wanted.

    Attributes:
        cpu_s: user and system seconds of the process, and of its children that ended and were waited for.
    """

    pid: int
    parent: int
    session: int
    cpu_s: float
    rss_mb: float


def read_process(pid: int) -> Process | None:
    """Read one process; None when it is gone."""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    ticks = sum(int(fields[index]) for index in (11, 12, 13, 14))
    return Process(
        pid=pid,
        parent=int(fields[1]),
        session=int(fields[3]),
        cpu_s=ticks * TICK_S,
        rss_mb=int(fields[21]) * PAGE_MB,
    )


def family(*roots: int) -> list[Process]:
    """Find processes, all their descendants, and all members of the sessions they lead."""
    everyone = [read_process(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit()]
    living = [process for process in everyone if process is not None]
    known = set(roots)
    size = -1
    while size != len(known):
        size = len(known)
        known |= {process.pid for process in living if process.parent in known or process.session in roots}
    return [process for process in living if process.pid in known]


def cpu_s(*roots: int) -> float:
    """Sum the processor seconds of a family, in steps of a clock tick a process."""
    return sum(process.cpu_s for process in family(*roots))


class PeakMemory:
    """Watch a family's resident memory while the block runs; shared pages count in each process."""

    def __init__(self, *roots: int) -> None:
        """Watch these processes and what they start."""
        self._roots = roots
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak_mb = 0.0

    def __enter__(self) -> Self:
        """Begin to sample."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop sampling."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_EVERY_S):
            self.peak_mb = max(self.peak_mb, sum(process.rss_mb for process in family(*self._roots)))


class Stopwatch:
    """Wall seconds since it was made."""

    def __init__(self) -> None:
        """Start."""
        self._begun = time.monotonic()

    def elapsed_s(self) -> float:
        """Seconds so far."""
        return time.monotonic() - self._begun
