"""What both embedded servers share: one a data folder, adopted when it runs already, outliving whoever started it."""

from __future__ import annotations

import abc
import contextlib
import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from app.errors import StorageAwayError
from app.servers.identity import Identity, launch_command

START_TIMEOUT_S = 60.0  # covers the recovery of a large write-ahead log after a crash
STOP_TIMEOUT_S = 20.0
POLL_S = 0.02
LOG_TAIL_BYTES = 2000
LOG_MAX_BYTES = 10_000_000  # a log larger than this starts anew with the server


class EmbeddedServer(abc.ABC):
    """A server that lives in one folder and at most once.

    Starting is idempotent: a server that runs on the folder is adopted, whoever started it. It runs in a session of
    its own, so neither Ctrl-C in a terminal nor `kill -9` of its starter ends it.

    Args:
        data_dir: DATA_DIR; the server keeps to one folder in it.
        die_with_parent: end when the starting process ends (tests). The kernel ties this to the starting *thread*,
            so it only takes effect when `start` is called from the main thread.
    """

    name: str
    program: str  # how the process is called
    stop_signal: signal.Signals  # ends it in good order without waiting for clients
    working_dir: Path  # the folder that the process works in, by which it is recognised

    def __init__(self, data_dir: Path, *, die_with_parent: bool = False) -> None:
        self.home = data_dir.absolute() / self.name
        self.log_path = self.home / f"{self.name}.log"
        self._die_with_parent = die_with_parent
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start the server unless it runs already.

        Returns:
            Its address, which stays the same across restarts as long as nobody else took it.

        Raises:
            StorageAwayError: it did not come up; the message ends with the log's last lines.
        """
        self._make_home()
        with self._locked():
            if self.pid is None:
                self._launch()
            self._wait_until_ready(time.monotonic() + START_TIMEOUT_S)
            return self.url

    def stop(self) -> None:
        """Let the server end in good order; does nothing when it is not running."""
        self._end(self.stop_signal, STOP_TIMEOUT_S)

    def kill(self) -> None:
        """End the server and its helpers at once, as a crash would; its files stay as they are."""
        self._end(signal.SIGKILL, STOP_TIMEOUT_S)

    @property
    def pid(self) -> int | None:
        """The process that serves this folder, whoever started it; None when there is none."""
        if self._process is not None:
            self._process.poll()  # reaps it, if it ended
        recorded = self._recorded_pid()
        return recorded if recorded is not None and self._serves_us(recorded) else None

    @property
    def running(self) -> bool:
        """Whether the server's process is alive."""
        return self.pid is not None

    @property
    @abc.abstractmethod
    def url(self) -> str:
        """The running server's address; a secret, for it may hold a password."""

    @abc.abstractmethod
    def _recorded_pid(self) -> int | None: ...

    @abc.abstractmethod
    def _launch(self) -> None: ...

    @abc.abstractmethod
    def _is_ready(self) -> bool: ...

    def _serves_us(self, pid: int) -> bool:
        # A number in a file outlives its process and may belong to anything by now. The folder a process works in is
        # the one sign that survives a renamed clone and a rebuilt virtual environment.
        try:
            process = psutil.Process(pid)
            return (
                process.status() != psutil.STATUS_ZOMBIE
                and process.name().startswith(self.program)
                and Path(process.cwd()).samefile(self.working_dir)
            )
        except (psutil.Error, OSError):
            return False

    def _make_home(self) -> None:
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.listdir(self.home)  # noqa: PTH208 - says at once whether we may
        except PermissionError:
            raise StorageAwayError(
                f"{self.home} belongs to another user. Start as that user, or set DATA_DIR to a folder of your own."
            ) from None
        with contextlib.suppress(FileNotFoundError):
            if self.log_path.stat().st_size > LOG_MAX_BYTES and self.pid is None:
                self.log_path.unlink()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self.home.parent / f".{self.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _spawn(self, program: list[str], identity: Identity, working_dir: Path) -> None:
        options = identity.options
        if self._die_with_parent and threading.current_thread() is threading.main_thread():
            options = (*options, "--die-with", f"{os.getpid()}:{int(self.stop_signal)}")
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                launch_command(options, program),
                cwd=working_dir,
                env=server_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait_until_ready(self, deadline: float) -> None:
        while not self._is_ready():
            if self._process is None and self.pid is None:
                self._launch()  # the server that we found was on its way out
            elif self._process is not None and self._process.poll() is not None and self.pid is None:
                self._launch_failed(deadline)
            if time.monotonic() > deadline:
                raise StorageAwayError(f"{self.name} is not ready after {START_TIMEOUT_S:.0f} s.\n{self._log_tail()}")
            time.sleep(POLL_S)

    def _launch_failed(self, deadline: float) -> None:  # noqa: ARG002 - an implementation may try again until then
        raise StorageAwayError(f"{self.name} ended while starting.\n{self._log_tail()}")

    def _log_tail(self) -> str:
        try:
            return self.log_path.read_bytes()[-LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return "(there is no log)"

    def _end(self, signal_number: signal.Signals, timeout_s: float) -> None:
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                end_family(psutil.Process(pid), signal_number, timeout_s)
        if self._process is not None:
            self._process.wait(timeout_s)
            self._process = None


def end_family(process: psutil.Process, signal_number: signal.Signals, timeout_s: float) -> None:
    """Signal a process, wait until it and its children are gone, and kill what is left after the time limit."""
    family = [process, *process.children(recursive=True)]
    receivers = family if signal_number == signal.SIGKILL else [process]
    for each in receivers:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.send_signal(signal_number)
    for each in _still_there(family, timeout_s):
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    _still_there(family, timeout_s)


def _still_there(family: list[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    deadline = time.monotonic() + timeout_s
    while (alive := [each for each in family if _is_alive(each)]) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    return alive


def _is_alive(process: psutil.Process) -> bool:
    try:  # a zombie has ended; whoever started it has not looked yet
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def server_environment() -> dict[str, str]:
    """Make an environment in which nobody's PGDATA, PGPORT or locale leads a server astray."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
