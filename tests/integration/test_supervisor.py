from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from app.errors import ConflictError
from app.formation import Child, Program
from app.schema import ROOT
from app.supervisor import Supervisor, Terminal, clear_remains, only_one

PATIENCE_S = 15


def child(name: str, program: str, *, rank: int = 1, grace_s: float = 10) -> Child:
    kind = Program(name, name, stop_rank=rank, stop_grace_s=grace_s)
    return Child(name, kind, (sys.executable, "-u", "-c", textwrap.dedent(program)))


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Stage:
    """A supervisor of stand-ins, and a thread that acts while it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = io.StringIO()

    def run(self, children: list[Child], act: Callable[[Supervisor], None]) -> str:
        faults: list[BaseException] = []
        supervisor = Supervisor(
            children,
            {"PATH": os.environ["PATH"], "FOLDER": str(self.folder)},
            self.folder / "children.json",
            terminal=Terminal(self.output),
            working_dir=self.folder,
        )

        def play() -> None:
            try:
                act(supervisor)
            except BaseException as fault:  # noqa: BLE001 - shown in the test's own thread
                faults.append(fault)
            finally:
                supervisor.stop()

        supervisor.run(play)
        if faults:
            raise faults[0]
        return self.output.getvalue()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


WRITE_PID = """
    import os, pathlib, time
    pathlib.Path(os.environ["FOLDER"], str(os.getpid()) + ".pid").touch()
    time.sleep(60)
"""
NOTE_THE_END = """
    import os, pathlib, signal, sys, time
    def leave(number, frame):
        with open(pathlib.Path(os.environ["FOLDER"], "ends"), "a") as ends:
            ends.write(NAME + "\\n")
        sys.exit(0)
    signal.signal(signal.SIGTERM, leave)
    pathlib.Path(os.environ["FOLDER"], NAME + ".ready").touch()
    time.sleep(60)
"""


def test_a_child_that_is_killed_runs_again_and_the_terminal_says_so(stage: Stage) -> None:
    def pids() -> list[int]:
        return sorted(int(path.stem) for path in stage.folder.glob("*.pid"))

    def act(_supervisor: Supervisor) -> None:
        wait_until(lambda: len(pids()) == 1)
        os.kill(pids()[0], signal.SIGKILL)
        wait_until(lambda: len(pids()) == 2)

    said = stage.run([child("worker", WRITE_PID)], act)
    assert "worker was ended by signal 9; starting it again in 0.5 s" in said
    assert all(is_gone(pid) for pid in pids())


def test_a_child_that_dies_at_once_is_started_ever_more_slowly(stage: Stage) -> None:
    def act(_supervisor: Supervisor) -> None:
        wait_until(lambda: "again in 2 s" in stage.output.getvalue())

    said = stage.run([child("broken", "raise SystemExit(3)")], act)
    assert [f"ended with code 3; starting it again in {delay} s" in said for delay in ("0.5", "1", "2")] == [True] * 3


def test_children_stop_in_the_order_of_their_rank(stage: Stage) -> None:
    names = {"beat": 1, "web": 2, "worker": 3}
    children = [
        child(name, f"NAME = {name!r}\n" + textwrap.dedent(NOTE_THE_END), rank=names[name])
        for name in ("worker", "web", "beat")
    ]

    def act(_supervisor: Supervisor) -> None:
        wait_until(lambda: len(list(stage.folder.glob("*.ready"))) == 3)

    stage.run(children, act)
    assert (stage.folder / "ends").read_text().split() == ["beat", "web", "worker"]


def test_a_child_that_ignores_the_request_is_killed_when_its_grace_is_over(stage: Stage) -> None:
    deaf = """
        import os, pathlib, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        pathlib.Path(os.environ["FOLDER"], "deaf.ready").touch()
        time.sleep(60)
    """

    def act(_supervisor: Supervisor) -> None:
        wait_until((stage.folder / "deaf.ready").exists)

    begun = time.monotonic()
    said = stage.run([child("deaf", deaf, grace_s=0.5)], act)
    assert "deaf did not stop in time: killed" in said
    assert time.monotonic() - begun < PATIENCE_S


def test_output_comes_line_by_line_with_the_name_in_front(stage: Stage) -> None:
    def act(_supervisor: Supervisor) -> None:
        wait_until(lambda: "second" in stage.output.getvalue())

    said = stage.run([child("web", "import time\nprint('first')\nprint('second')\ntime.sleep(60)")], act)
    assert "web             | first\nweb             | second\n" in said


def test_children_die_with_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = f"""
        import sys
        from pathlib import Path
        from app.formation import Child, Program
        from app.supervisor import Supervisor, Terminal
        folder = Path({str(tmp_path)!r})
        code = "import os, pathlib, time; pathlib.Path('child.pid').write_text(str(os.getpid())); time.sleep(60)"
        kind = Program("worker", "worker", stop_rank=1, stop_grace_s=5)
        children = [Child("worker", kind, (sys.executable, "-c", code))]
        Supervisor(children, {{}}, folder / "children.json", terminal=Terminal(), working_dir=folder).run()
    """
    written = tmp_path / "child.pid"
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=ROOT, stdout=subprocess.DEVNULL
    ) as starter:
        wait_until(lambda: written.exists() and bool(written.read_text()))
        starter.kill()
    wait_until(lambda: is_gone(int(written.read_text())))


def test_what_an_earlier_start_left_behind_is_ended_with_all_its_helpers(tmp_path: Path) -> None:
    helper = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).wait()"
    with subprocess.Popen([sys.executable, "-c", helper], start_new_session=True) as left:
        process = psutil.Process(left.pid)
        wait_until(lambda: bool(process.children()))
        helpers = process.children()
        record = tmp_path / "children.json"
        record.write_text(f'{{"{left.pid}": {process.create_time()}}}')
        clear_remains(record, Terminal(io.StringIO()))
        assert all(is_gone(each.pid) for each in (process, *helpers))
    assert not record.exists()


def test_a_process_that_got_a_dead_childs_number_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True) as stranger:
        record = tmp_path / "children.json"
        record.write_text(f'{{"{stranger.pid}": {psutil.Process(stranger.pid).create_time() - 100}}}')
        clear_remains(record, Terminal(io.StringIO()))
        assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"x": 1}'])
def test_an_unreadable_record_stops_no_start(tmp_path: Path, text: str) -> None:
    record = tmp_path / "children.json"
    record.write_text(text)
    clear_remains(record, Terminal(io.StringIO()))


def test_a_second_system_on_the_same_folder_is_told_where_the_first_one_is(tmp_path: Path) -> None:
    with (
        only_one(tmp_path, "http://127.0.0.1:8001"),
        pytest.raises(ConflictError, match=rf"process {os.getpid()}, http://127.0.0.1:8001"),
        only_one(tmp_path, "http://127.0.0.1:9000"),
    ):
        pytest.fail("there were two")


def test_the_folder_is_free_again_after_the_first_one_ended(tmp_path: Path) -> None:
    for _ in range(2):
        with only_one(tmp_path, "somewhere"):
            pass


def test_a_terminal_that_was_closed_is_no_reason_to_stop() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream)
    stream.close()
    terminal.say("hello")
    assert stream.closed
