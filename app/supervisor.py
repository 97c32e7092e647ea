"""Keep a set of processes running: start, restart, and stop them in order, in one terminal.

The supervisor must be run from the main thread: signals arrive there, and the kernel ties a child's life to the thread
that started it.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TextIO

import psutil

from app.errors import ConflictError
from app.formation import Child
from app.servers.embedded import end_family
from app.servers.identity import launch_command

TICK_S = 0.1
BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 10.0
HEALTHY_AFTER_S = 20.0  # a child that lived this long starts again without delay growing
REMAINS_GRACE_S = 8.0
COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)  # of terminal escape codes
NAME_WIDTH = 15


@dataclass
class Running:
    """A child and what is known of its process."""

    child: Child
    process: subprocess.Popen[str] | None = None
    started_at: float = 0.0  # monotonic seconds
    delay_s: float = 0.0
    start_again_at: float = 0.0  # monotonic seconds

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.process is not None and self.process.poll() is None


@dataclass
class Terminal:
    """One terminal that many write to, a whole line at a time, each with its name in front."""

    stream: TextIO = field(default_factory=lambda: sys.stdout)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.is_coloured = self.stream.isatty()  # asked now: a stream that was closed does not answer

    def say(self, text: str, *, name: str = "batuta", colour: int = 37) -> None:
        """Write one or more lines."""
        front = f"{name:<{NAME_WIDTH}} | "
        if self.is_coloured:
            front = f"\x1b[{colour}m{front}\x1b[0m"
        self.write("".join(f"{front}{line}\n" for line in text.splitlines()))

    def write(self, text: str) -> None:
        """Write text as it is; a terminal that was closed is no reason to stop."""
        with self._lock, contextlib.suppress(OSError, ValueError):
            self.stream.write(text)
            self.stream.flush()


@contextlib.contextmanager
def only_one(data_dir: Path, purpose: str) -> Iterator[None]:
    """Hold the data folder for one system.

    Args:
        data_dir: DATA_DIR.
        purpose: what a second one is told about the first, such as its address.

    Raises:
        ConflictError: another system runs on this folder.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "batuta.lock").open("a+", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise ConflictError(
                f"Batuta already runs on {data_dir} ({holder}). Stop it there with Ctrl-C, or set another DATA_DIR.",
                code="already_running",
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, {purpose}")
        lock.flush()
        yield
        lock.truncate(0)


class Supervisor:
    """Keep children running until a signal asks to stop.

    Args:
        children: what to run; the order is the order of start.
        environment: of every child.
        record: file in which the children's processes are written down, so that a start after `kill -9` finds them.
        terminal: where their output goes.
        working_dir: of every child.
    """

    def __init__(
        self,
        children: Sequence[Child],
        environment: Mapping[str, str],
        record: Path,
        *,
        terminal: Terminal,
        working_dir: Path,
    ) -> None:
        self._running = [Running(child) for child in children]
        self._environment = dict(environment)
        self._record = record
        self._terminal = terminal
        self._working_dir = working_dir
        self._signals = 0
        self._readers: list[threading.Thread] = []

    def run(self, when_started: Callable[[], None] | None = None) -> None:
        """Start everything and stay until SIGINT, SIGTERM or SIGHUP; a second one stops without waiting.

        Args:
            when_started: called once in a thread of its own, after every child was started.
        """
        clear_remains(self._record, self._terminal)
        with self._catching_signals():
            try:
                for each in self._running:
                    self._start(each)
                if when_started is not None:
                    threading.Thread(target=when_started, daemon=True, name="when-started").start()
                while not self._signals:
                    self._restart_dead()
                    time.sleep(TICK_S)
            finally:
                self._stop_all()

    def stop(self) -> None:
        """Ask `run` to return; safe from any thread."""
        self._signals += 1

    @contextlib.contextmanager
    def _catching_signals(self) -> Iterator[None]:
        def note(_number: int, _frame: FrameType | None) -> None:
            self._signals += 1

        caught = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, note) for number in caught}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start(self, each: Running) -> None:
        options = ("--die-with", f"{os.getpid()}:{int(signal.SIGTERM)}")
        each.process = subprocess.Popen(
            launch_command(options, list(each.child.command)),
            cwd=self._working_dir,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C must reach the supervisor alone: the order of stopping is its business
        )
        each.started_at = time.monotonic()
        self._write_record()
        reader = threading.Thread(target=self._copy_output, args=(each.child.name, each.process), daemon=True)
        reader.start()
        self._readers = [thread for thread in self._readers if thread.is_alive()] + [reader]

    def _copy_output(self, name: str, process: subprocess.Popen[str]) -> None:
        colour = COLOURS[[each.child.name for each in self._running].index(name) % len(COLOURS)]
        if process.stdout is not None:
            with process.stdout as lines:
                for line in lines:
                    self._terminal.say(line.rstrip("\n") or " ", name=name, colour=colour)

    def _restart_dead(self) -> None:
        now = time.monotonic()
        for each in self._running:
            if each.alive:
                continue
            if each.process is not None:
                self._note_death(each, now)
            if now >= each.start_again_at:
                self._start(each)

    def _note_death(self, each: Running, now: float) -> None:
        code = each.process.returncode if each.process is not None else None
        if now - each.started_at > HEALTHY_AFTER_S:
            each.delay_s = 0.0
        each.delay_s = min(max(each.delay_s * 2, BACKOFF_FIRST_S), BACKOFF_MAX_S)
        each.start_again_at = now + each.delay_s
        _kill_session(each)  # what it started itself must not hold its port or its queue
        each.process = None
        how = f"was ended by signal {-code}" if code is not None and code < 0 else f"ended with code {code}"
        self._terminal.say(f"{each.child.name} {how}; starting it again in {each.delay_s:g} s")

    def _stop_all(self) -> None:
        self._terminal.say("stopping (again Ctrl-C: at once)")
        already = self._signals
        for rank in sorted({each.child.program.stop_rank for each in self._running}):
            group = [each for each in self._running if each.child.program.stop_rank == rank and each.alive]
            self._stop_group(group, already)
        for reader in self._readers:
            reader.join(timeout=1)
        self._record.unlink(missing_ok=True)

    def _stop_group(self, group: list[Running], already: int) -> None:
        for each in group:
            _signal(each, signal.SIGTERM)
        begun = time.monotonic()
        while alive := [each for each in group if each.alive]:
            impatient = self._signals > already
            for each in alive:
                if impatient or time.monotonic() - begun > each.child.program.stop_grace_s:
                    self._terminal.say(f"{each.child.name} did not stop in time: killed")
                    _kill_session(each)
            time.sleep(TICK_S)

    def _write_record(self) -> None:
        alive = [each.process.pid for each in self._running if each.process is not None and each.alive]
        processes = {}
        for pid in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                processes[pid] = psutil.Process(pid).create_time()
        fresh = self._record.with_suffix(".new")
        fresh.write_text(json.dumps(processes), encoding="utf-8")
        fresh.rename(self._record)


def clear_remains(record: Path, terminal: Terminal) -> None:
    """End what a supervisor that was killed left behind; its children normally die with it, but some take their time.

    Args:
        record: as the killed one wrote it: process ids with their times of start.
        terminal: is told when there was something to end.
    """
    try:
        recorded = {int(pid): float(created) for pid, created in json.loads(record.read_text("utf-8")).items()}
    except (FileNotFoundError, ValueError, AttributeError):
        return
    remains = [process for process in psutil.process_iter() if _belongs(process, recorded)]
    if remains:
        terminal.say(f"ending {len(remains)} processes that an earlier start left behind")
    for process in remains:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(remains, timeout=REMAINS_GRACE_S)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            end_family(process, signal.SIGKILL, REMAINS_GRACE_S)
    record.unlink()


def _belongs(process: psutil.Process, recorded: Mapping[int, float]) -> bool:
    # Every child leads a session of its own. A session's number is not given out again while anybody is in it, so a
    # member without its leader is ours; a leader is ours if it also began when we wrote down.
    try:
        session = os.getsid(process.pid)
        if session not in recorded or process.status() == psutil.STATUS_ZOMBIE:
            return False
        try:
            return bool(abs(psutil.Process(session).create_time() - recorded[session]) < 1)
        except psutil.NoSuchProcess:
            return True
    except (psutil.Error, OSError):
        return False


def _signal(each: Running, number: signal.Signals) -> None:
    if each.process is not None and each.alive:
        each.process.send_signal(number)


def _kill_session(each: Running) -> None:
    if each.process is not None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(each.process.pid, signal.SIGKILL)
