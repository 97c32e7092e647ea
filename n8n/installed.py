"""Drive an installed n8n: a throw-away home folder, its commands, its server, and what its database says."""

# ruff: noqa: INP001 - a program's part, not a package

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import Any

from stand_in import HOST, post

COMMAND_TIMEOUT_S = 180
START_TIMEOUT_S = 90
STOP_TIMEOUT_S = 10


class N8nError(Exception):
    """n8n did not do what it was told; the message holds what it wrote."""


def free_port() -> int:
    """Find a port nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class N8n:
    """An installed n8n with a home folder of its own.

    Args:
        folder: holds `node_modules`.
        home: an empty folder; n8n keeps its database there.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self._command = [str(folder.resolve() / "node_modules" / ".bin" / "n8n")]
        self._environment = os.environ | {
            "N8N_USER_FOLDER": str(home),
            "N8N_ENCRYPTION_KEY": secrets.token_hex(16),
            "N8N_DIAGNOSTICS_ENABLED": "false",
            "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
            "N8N_TEMPLATES_ENABLED": "false",
            "N8N_LISTEN_ADDRESS": HOST,
            "N8N_PORT": str(self.port),
            "N8N_RUNNERS_BROKER_PORT": str(free_port()),
            "WEBHOOK_URL": self.url + "/",
            "N8N_SECURE_COOKIE": "false",
        }
        self._server: subprocess.Popen[bytes] | None = None

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run one n8n command to its end; its exit code, and what it wrote."""
        process = self._spawn(arguments, subprocess.PIPE)
        try:
            output, _ = process.communicate(timeout=COMMAND_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return 124, f"{arguments[0]} took longer than {COMMAND_TIMEOUT_S} s"
        finally:
            self._stop(process)
        return process.returncode, output.decode(errors="replace")

    def take_in(self, kind: str, things: list[dict[str, Any]]) -> None:
        """Import credentials or workflows; `kind` is `credentials` or `workflow`."""
        file = self.home / f"{kind}.json"
        file.write_text(json.dumps(things))
        code, output = self.run(f"import:{kind}", f"--input={file}")
        if code != 0:
            raise N8nError(f"n8n import:{kind} ended with {code}:\n{output}")

    def execute(self, workflow_id: str) -> dict[str, list[Any]]:
        """Execute a workflow by its Manual Trigger.

        Returns:
            What each node put out, by the node's name: a list of items a branch.

        Raises:
            N8nError: the execution failed.
        """
        code, output = self.run("execute", f"--id={workflow_id}", "--rawOutput")
        start = output.find('{\n  "data"')  # lines about n8n's own parts come before and after
        if code != 0 or start < 0:
            raise N8nError(f"n8n execute ended with {code}: {output.strip()[-600:]}")
        result, _ = json.JSONDecoder().raw_decode(output[start:])
        return {
            node: [[item["json"] for item in branch or []] for branch in runs[-1].get("data", {}).get("main", [])]
            for node, runs in result["data"]["resultData"]["runData"].items()
        }

    def start(self) -> None:
        """Serve webhooks until `stop`."""
        log = (self.home / "n8n.log").open("wb")
        self._server = self._spawn(("start",), log)
        give_up = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < give_up and self._server.poll() is None:
            try:
                with urllib.request.urlopen(self.url + "/healthz/readiness", timeout=2):  # noqa: S310 - ours
                    return
            except OSError:
                pass
            time.sleep(0.5)
        raise N8nError("n8n did not start:\n" + (self.home / "n8n.log").read_text()[-2000:])

    def stop(self) -> None:
        """Stop the server and whatever it started."""
        if self._server is not None:
            self._stop(self._server)

    def ask(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, str]:
        """POST to a webhook, again while n8n is ready but has not registered its webhooks yet."""
        headers = {"Content-Type": "application/json"} | headers
        give_up = time.monotonic() + START_TIMEOUT_S
        while True:
            status, text = post(f"{self.url}/webhook/{path}", json.dumps(body).encode(), headers)
            if status != HTTPStatus.NOT_FOUND or time.monotonic() > give_up:
                return status, text
            time.sleep(0.5)

    def executions(self, workflow_id: str) -> list[tuple[str, str]]:
        """List id and status of a workflow's executions, oldest first."""
        with sqlite3.connect(f"file:{self.home}/.n8n/database.sqlite?mode=ro", uri=True, timeout=10) as database:
            query = "select id, status from execution_entity where workflowId = ? order by cast(id as integer)"
            return [(str(row[0]), str(row[1])) for row in database.execute(query, (workflow_id,))]

    def wait_for(self, workflow_id: str, status: str, within_s: float = 30) -> bool:
        """Wait until the latest execution of a workflow has a status; whether it came to that."""
        give_up = time.monotonic() + within_s
        while time.monotonic() < give_up:
            if [seen for _, seen in self.executions(workflow_id)][-1:] == [status]:
                return True
            time.sleep(0.2)
        return False

    def _spawn(self, arguments: tuple[str, ...], output: Any) -> subprocess.Popen[bytes]:
        # A session of its own: n8n starts a task runner, which must go with it.
        return subprocess.Popen(
            [*self._command, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            try:
                process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                continue
        process.wait()
