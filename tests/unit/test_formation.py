from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from app.errors import SettingsError
from app.formation import PROGRAMS, fill_in, plan_children, write_procfile
from app.setting_variables import VARIABLES
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
ALL_QUEUES = {f"{kind}.{rank}" for kind in ("inline", "linear") for rank in ("high", "medium", "low")} | {
    "control",
    "learning",
}


def test_the_procfile_has_the_lines_that_up_starts() -> None:
    assert (ROOT / "Procfile").read_text(encoding="utf-8") == write_procfile()


def test_every_queue_is_drained_by_some_line() -> None:
    drained: set[str] = set()
    for program in PROGRAMS:
        words = shlex.split(program.line)
        if "-Q" in words:
            drained |= set(words[words.index("-Q") + 1].split(","))
    assert drained == ALL_QUEUES


def test_the_defaults_in_the_lines_are_those_of_the_settings() -> None:
    defaults = {variable.name: str(variable.default) for variable in VARIABLES}
    lines = " ".join(program.line for program in PROGRAMS)
    for name, default in (
        ("HOST", "127.0.0.1"),
        ("PORT", "8001"),
        ("WEB_THREADS", "32"),
        ("WORKER_CONCURRENCY", "1000"),
    ):
        assert f"${{{name}:-{default}}}" in lines
        assert defaults[name] == default


def test_as_many_workers_start_as_the_settings_say_each_with_a_name_of_its_own() -> None:
    children = plan_children(Settings.from_env({"WORKER_PROCESSES": "3"}))
    workers = [child for child in children if child.program.name == "worker-io"]
    assert [child.name for child in workers] == ["worker-io.1", "worker-io.2", "worker-io.3"]
    assert [child.command[-1] for child in workers] == ["io1@%h", "io2@%h", "io3@%h"]


def test_an_ipv6_address_is_written_in_brackets() -> None:
    children = plan_children(Settings.from_env({"HOST": "::1"}))
    assert "[::1]:8001" in next(child for child in children if child.name == "web").command


def test_a_line_with_an_unknown_variable_is_refused() -> None:
    with pytest.raises(SettingsError, match="SHOE_SIZE"):
        fill_in("run --size ${SHOE_SIZE:-42}", {})


def test_the_compose_file_has_a_service_for_every_program() -> None:
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for program in PROGRAMS:
        assert f"\n  {program.name}:\n" in text
        assert program.name == "flower" or f'["batuta", "start", "{program.name}"]' in text
