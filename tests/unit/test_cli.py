from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from app import __version__
from app.cli import main
from app.commands.client import SystemClient, address_of
from app.commands.doctor import Finding, examine, print_findings
from app.commands.runs import show_run
from app.commands.welcome import batch_result
from app.errors import RequestError, UnavailableError
from app.settings import Settings


class Answering(http.server.BaseHTTPRequestHandler):
    """Answers what the test put on its server, and keeps what it was asked."""

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        status, body = self.server.answer  # type: ignore[attr-defined]  # put there by the fixture
        self.server.asked.append((self.path, dict(self.headers)))  # type: ignore[attr-defined]  # the same
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the name that http.server looks for


@pytest.fixture
def door() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.asked = []  # type: ignore[attr-defined]  # read by the handler
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def client_of(server: http.server.ThreadingHTTPServer, token: str | None = None) -> SystemClient:
    return SystemClient(f"http://127.0.0.1:{server.server_port}", token)


def set_answer(server: http.server.ThreadingHTTPServer, status: int, body: object) -> None:
    server.answer = (status, body if isinstance(body, bytes) else json.dumps(body).encode())  # type: ignore[attr-defined]


def test_a_batch_that_fell_short_says_so_on_the_screen(door: http.server.ThreadingHTTPServer) -> None:
    set_answer(door, 200, [])
    console = Console(width=118, record=True)
    short = {"error": "No idea that can be used.", "degraded": ["prompts: written by plain rules"], "task_id": "t"}
    console.print(batch_result(client_of(door), short))
    shown = console.export_text()
    assert "missing: No idea that can be used." in shown
    assert "degraded: prompts: written by plain rules" in shown


def test_a_long_output_leaves_the_other_columns_of_a_run_readable() -> None:
    step = {"key": "draft", "kind": "model", "status": "completed", "model": "thinking_ai", "attempts": 1, "cost": 0.01}
    run = {"kind": "workflow", "task_id": "t", "status": "completed", "steps": [{**step, "output": "word " * 300}]}
    console = Console(width=100, record=True)
    show_run(run, console)
    [line] = [line for line in console.export_text().splitlines() if "word" in line]
    assert line.split()[:6] == ["draft", "model", "completed", "thinking_ai", "1", "0.010000"]


def all_commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))


@pytest.mark.parametrize("path", list(all_commands(main)), ids=" ".join)
def test_every_command_says_what_it_does(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert len(result.output.splitlines()[2].strip()) > 10


def test_the_list_of_commands_reads_to_its_end_in_a_narrow_terminal() -> None:
    result = CliRunner().invoke(main, ["--help"], terminal_width=80)
    assert "savings" in result.output
    assert "..." not in result.output.partition("Commands:")[2]


def test_the_version_is_the_packages() -> None:
    assert CliRunner().invoke(main, ["version"]).output.strip() == __version__


def test_unusable_settings_end_every_command_with_a_sentence_and_code_2() -> None:
    result = CliRunner().invoke(main, ["doctor"], env={"PORT": "no number"})
    assert result.exit_code == 2
    assert "PORT" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_settings_page_is_compared_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    assert CliRunner().invoke(main, ["settings", "--check"]).exit_code == 1
    assert CliRunner().invoke(main, ["settings"]).exit_code == 0
    assert CliRunner().invoke(main, ["settings", "--check"]).exit_code == 0


def test_a_problem_is_shown_in_the_systems_own_words(door: http.server.ThreadingHTTPServer) -> None:
    set_answer(door, 422, {"title": "Invalid", "detail": "No.", "errors": {"num_ideas": ["Too many."]}})
    with pytest.raises(RequestError, match=r"422: No\.\n  num_ideas: Too many\."):
        client_of(door).post("/events/daily_batch", {"num_ideas": 51})


def test_the_doctor_says_which_part_is_away_and_what_health_warns_of(door: http.server.ThreadingHTTPServer) -> None:
    settings = Settings.from_env({"PORT": str(door.server_port)})

    def found() -> Finding:
        return next(finding for finding in examine(settings) if finding.what == "processes")

    health = {"status": "degraded", "checks": {"database": "away", "broker": "ok"}, "warnings": ["openai: auth"]}
    set_answer(door, 503, health)
    assert (found().state, found().note) == ("away", "503: database away, broker ok")
    set_answer(door, 200, {**health, "checks": {"database": "ok"}})
    assert found().state == "ok"
    assert found().note.endswith("; openai: auth")


@pytest.mark.parametrize("status", [401, 403])
def test_who_lacks_a_token_is_told_where_to_put_one(door: http.server.ThreadingHTTPServer, status: int) -> None:
    set_answer(door, status, {"detail": "This route needs a token."})
    with pytest.raises(RequestError, match=r"needs a token\.\n.*BATUTA_TOKEN"):
        client_of(door).get("/runs")


def test_a_refusal_that_is_no_problem_document_is_shown_as_it_is(door: http.server.ThreadingHTTPServer) -> None:
    set_answer(door, 502, b"<html>bad gateway</html>")
    with pytest.raises(UnavailableError, match="502: <html>"):
        client_of(door).get("/runs")


def test_a_system_that_is_away_is_named_with_what_to_do() -> None:
    with pytest.raises(UnavailableError, match="batuta up"):
        SystemClient("http://127.0.0.1:1").get("/health")


def test_the_token_is_sent_and_empty_options_are_not(door: http.server.ThreadingHTTPServer) -> None:
    set_answer(door, 200, [])
    client_of(door, "secret-token").get("/runs", {"kind": None, "page_size": 20})
    path, headers = door.asked[0]  # type: ignore[attr-defined]
    assert path == "/runs?page_size=20"
    assert headers["Authorization"] == "Bearer secret-token"


@pytest.mark.parametrize(
    ("host", "address"),
    [("127.0.0.1", "http://127.0.0.1:8001"), ("0.0.0.0", "http://127.0.0.1:8001"), ("::1", "http://[::1]:8001")],
)
def test_the_system_is_reached_over_loopback_wherever_it_binds(host: str, address: str) -> None:
    assert address_of(Settings.from_env({"HOST": host})) == address


def test_the_doctor_misses_what_is_needed_and_forgives_what_is_not(tmp_path: Path) -> None:
    environ = {"DATA_DIR": str(tmp_path), "PORT": "1", "DATABASE_URL": "postgresql://u:pw-4711@127.0.0.1:1/x"}
    findings = {finding.what: finding for finding in examine(Settings.from_env(environ))}
    assert {what for what, finding in findings.items() if finding.needed and finding.state == "away"} == {
        "database",
        "broker",
        "processes",
    }
    assert findings["Airtable"].state == "off"
    assert "pw-4711" not in str(findings)
    assert list(tmp_path.iterdir()) == [], "looking changes nothing"


@pytest.mark.parametrize(
    ("state", "needed", "well"), [("ok", True, True), ("away", True, False), ("away", False, True)]
)
def test_only_something_needed_that_is_away_makes_the_doctor_fail(state: str, *, needed: bool, well: bool) -> None:
    assert print_findings([Finding("part", state, "note", needed=needed)], Console(quiet=True)) is well
