"""Try every workflow of this folder in a real n8n, and print a verdict a line.

    python n8n/try_out.py --n8n FOLDER                                   # against a stand-in for Batuta
    python n8n/try_out.py --n8n FOLDER --batuta URL --token T --callback-secret S

FOLDER holds `node_modules/n8n` (README.md has the recipe). A home folder for n8n is made and thrown away, mails go to
a sink, and every process that is started is stopped. With `--batuta` the good branches run against that system, and
make a batch, prompts, a like and a run there; the branches for failures always use the stand-in.
The exit code is 0 when every line says PASS.
"""

# ruff: noqa: INP001, T201 - a program; what it prints is its product

from __future__ import annotations

import argparse
import json
import os
import secrets
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stand_in import HOST, MailSink, StandIn, StandInServer, post, serve

HERE = Path(__file__).resolve().parent
COMMAND_TIMEOUT_S = 180
START_TIMEOUT_S = 90
WEBHOOK_KEY = ("X-Webhook-Key", secrets.token_urlsafe(16))
NOBODY = f"http://{HOST}:9"  # the discard port: nothing listens there


@dataclass(frozen=True)
class Target:
    """Where a copy of a workflow sends its requests, and with which token."""

    url: str
    token: str
    secret: str


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
            raise SystemExit(f"n8n import:{kind} ended with {code}:\n{output}")

    def execute(self, workflow_id: str) -> dict[str, list[Any]]:
        """Execute a workflow by its Manual Trigger.

        Returns:
            What each node put out, by the node's name: a list of items a branch; empty when the execution failed.
        """
        code, output = self.run("execute", f"--id={workflow_id}", "--rawOutput")
        start = output.find('{\n  "data"')  # lines about n8n's own parts come before and after
        if code != 0 or start < 0:
            return {"failed": [output.strip()[-600:]]}
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
        raise SystemExit("n8n did not start:\n" + (self.home / "n8n.log").read_text()[-2000:])

    def stop(self) -> None:
        """Stop the server and whatever it started."""
        if self._server is not None:
            self._stop(self._server)

    def ask(self, path: str, body: dict[str, Any], key: str = WEBHOOK_KEY[1]) -> tuple[int, str]:
        """POST to a webhook, again while n8n is ready but has not registered its webhooks yet."""
        headers = {"Content-Type": "application/json", WEBHOOK_KEY[0]: key}
        give_up = time.monotonic() + START_TIMEOUT_S
        while True:
            status, text = post(f"{self.url}/webhook/{path}", json.dumps(body).encode(), headers)
            if status != 404 or time.monotonic() > give_up:  # noqa: PLR2004 - n8n's answer for an unknown webhook
                return status, text
            time.sleep(0.5)

    def executions(self, workflow_id: str) -> list[tuple[str, str]]:
        """List id and status of a workflow's executions, oldest first."""
        with sqlite3.connect(f"file:{self.home}/.n8n/database.sqlite?mode=ro", uri=True, timeout=10) as database:
            query = "select id, status from execution_entity where workflowId = ? order by id"
            return [(str(row[0]), str(row[1])) for row in database.execute(query, (workflow_id,))]

    def wait_for(self, workflow_id: str, status: str, count: int, within_s: float = 30) -> bool:
        """Wait until so many executions of a workflow have a status."""
        give_up = time.monotonic() + within_s
        while time.monotonic() < give_up:
            if sum(seen == status for _, seen in self.executions(workflow_id)) >= count:
                return True
            time.sleep(0.2)
        return False

    def _spawn(self, arguments: tuple[str, ...], output: Any) -> subprocess.Popen[bytes]:
        # A session of its own: n8n starts a task runner, which must go with it.
        return subprocess.Popen(
            [*self._command, *arguments], env=self._environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=subprocess.STDOUT, start_new_session=True,
        )

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                continue
        process.wait()


def credentials(target: Target, mail_port: int, prefix: str = "") -> list[dict[str, Any]]:
    """Write the credentials that the workflows name; `prefix` keeps two sets apart."""
    data = {
        "BatutaToken00001": ("httpBearerAuth", {"token": target.token}),
        "BatutaWebhook001": ("httpHeaderAuth", {"name": WEBHOOK_KEY[0], "value": WEBHOOK_KEY[1]}),
        "BatutaMail000001": (
            "smtp", {"user": "", "password": "", "host": HOST, "port": mail_port, "secure": False, "disableStartTls": True},
        ),
        "BatutaAirtable01": ("airtableTokenApi", {"accessToken": "unused"}),
        "BatutaCallback01": ("crypto", {"hmacSecret": target.secret}),
    }
    return [{"id": prefix + key, "name": prefix + key, "type": kind, "data": value} for key, (kind, value) in data.items()]


def copy_of(file: str, target: Target, prefix: str = "") -> dict[str, Any]:
    """Read a workflow and point its Settings node at a target; without a token nothing is authenticated."""
    workflow: dict[str, Any] = json.loads((HERE / file).read_text())
    workflow["id"] = prefix + workflow["id"]
    for node in workflow["nodes"]:
        for credential in node.get("credentials", {}).values():
            credential["id"] = prefix + credential["id"]
        if node["name"] == "Settings":
            _field(node, "batuta_url")["value"] = target.url
        if node["type"].endswith(".httpRequest") and not target.token:
            node["parameters"] |= {"authentication": "none"}
            node.pop("credentials", None)
        if prefix and node["type"].endswith(".webhook"):
            node["parameters"]["path"] = prefix + node["parameters"]["path"]
            node["webhookId"] = prefix + node["webhookId"]
    return workflow


def _field(node: dict[str, Any], name: str) -> dict[str, Any]:
    found = [field for field in node["parameters"]["assignments"]["assignments"] if field["name"] == name]
    first: dict[str, Any] = found[0]
    return first


class TryOut:
    """All the trials, in the order in which they are printed.

    Args:
        n8n: with everything imported: the workflows themselves at `real`, copies prefixed `bad` at the stand-in.
        stand_in: the one behind the copies, and behind the workflows too when there is no real Batuta.
        sink: where mails arrive.
        real: where the workflows themselves go.
    """

    def __init__(self, n8n: N8n, stand_in: StandIn, sink: MailSink, real: Target) -> None:
        self.n8n = n8n
        self.stand_in = stand_in
        self.sink = sink
        self.real = real
        self.failures = 0

    def trial(self, name: str, body: Callable[[], str]) -> None:
        """Run one trial and print its line; an AssertionError, or anything else it raises, is its failure."""
        started = time.monotonic()
        try:
            verdict, detail = "PASS", body()
        except Exception as error:  # noqa: BLE001 - one trial's fault must not hide the others' verdicts
            self.failures += 1
            verdict, detail = "FAIL", f"{type(error).__name__}: {error}"
        print(f"{verdict}  {name:<55} {time.monotonic() - started:5.1f} s  {detail}", flush=True)

    def by_command(self) -> None:
        """Try what `n8n execute` can start."""
        self.trial("daily_batch: success is mailed", self._daily_success)
        for mood, wanted in (("refused", "batch_disabled"), ("away", "The database does not answer"), ("slow", "5 ideas, 12 prompts")):
            self.trial(f"daily_batch: {mood}", lambda mood=mood, wanted=wanted: self._daily_mood(mood, wanted))  # type: ignore[misc]
        self.trial("daily_batch: nobody listens", lambda: self._mailed("goneBatutaDailyBatch", "failed"))
        self.trial("manual_generation: by hand", self._manual_by_hand)
        self.trial("like_from_airtable: by hand", self._like_by_hand)

    def by_server(self) -> None:
        """Try what needs `n8n start`: webhooks and a Wait node."""
        self.trial("manual_generation: webhook", self._manual_by_webhook)
        self.trial("manual_generation: webhook with a wrong key", self._manual_wrong_key)
        self.trial("manual_generation: Batuta says 503", self._manual_away)
        self.trial("long_run: resumed by the callback", self._long_run)
        self.trial("long_run: a forged callback is dropped", self._long_run_forged)
        self.trial("long_run: a failed run fails the execution", self._long_run_failed)

    def _daily_success(self) -> str:
        return self._mailed("BatutaDailyBatch", "ideas, ", "Ideas: ", "Prompts: ", "Learning cycle: ", "Run: ")

    def _daily_mood(self, mood: str, wanted: str) -> str:
        self.stand_in.turn(mood)
        try:
            return self._mailed("badBatutaDailyBatch", wanted)
        finally:
            self.stand_in.turn("well")

    def _mailed(self, workflow_id: str, subject: str, *lines: str) -> str:
        before = len(self.sink.mails)
        nodes = self.n8n.execute(workflow_id)
        assert "failed" not in nodes, nodes["failed"]
        assert len(self.sink.mails) == before + 1, f"{len(self.sink.mails) - before} mails; nodes {list(nodes)}"
        mail = self.sink.mails[-1]
        assert subject in mail.subject, mail
        assert all(line in mail.text for line in lines), mail.text
        assert "undefined" not in mail.subject + mail.text, mail.text
        return mail.subject

    def _manual_by_hand(self) -> str:
        nodes = self.n8n.execute("BatutaManualMake")
        assert "failed" not in nodes, nodes["failed"]
        answer = nodes["Make the prompts"][0][0]
        assert answer["statusCode"] == 200, answer
        assert answer["body"]["prompts_generated"] == 12, answer["body"]
        assert answer["body"]["renderer"] == "ImageFX", answer["body"]
        return "12 prompts for ImageFX"

    def _like_by_hand(self) -> str:
        nodes = self.n8n.execute("BatutaLikesTaken")
        assert "failed" not in nodes, nodes["failed"]
        answer = nodes["Record the like"][0][0]
        assert answer["status"] in {"recorded", "duplicate", "queued", "threshold_reached"}, answer
        for request in self.stand_in.seen("/events/like"):
            like = {"record_id": "recEXAMPLE0000001", "structure_id": "42", "image_url": "https://example.com/like.png"}
            assert request.body == like, request.body
            assert request.headers["idempotency-key"].startswith("like-recEXAMPLE0000001-"), request.headers
        return f"{answer['status']}: {answer['message']}"

    def _manual_by_webhook(self) -> str:
        status, text = self.n8n.ask("batuta-generate", {"num_prompts": 3, "renderer": "Recraft"})
        answer = json.loads(text)
        assert status == 200, text
        assert (answer["prompts_generated"], answer["renderer"]) == (3, "Recraft"), text
        return "3 prompts for Recraft"

    def _manual_wrong_key(self) -> str:
        status, text = self.n8n.ask("batuta-generate", {}, key="wrong")
        assert status == 403, (status, text)
        return "403"

    def _manual_away(self) -> str:
        self.stand_in.turn("away")
        status, text = self.n8n.ask("badbatuta-generate", {})
        self.stand_in.turn("well")
        assert status == 503, (status, text)
        return json.loads(text)["detail"]

    def _long_run(self) -> str:
        known = len(self.stand_in.callbacks)
        self._start_long_run("")
        if len(self.stand_in.callbacks) > known:
            status = self.stand_in.call_back(list(self.stand_in.callbacks.values())[-1], signed=True)
            assert status == 200, f"n8n answered the callback with {status}"
        assert self.n8n.wait_for("BatutaLongRun001", "success", 1), self.n8n.executions("BatutaLongRun001")
        return "waited, and went on to the result"

    def _long_run_forged(self) -> str:
        self._start_long_run("bad")
        url = list(self.stand_in.callbacks.values())[-1]
        assert self.n8n.wait_for("badBatutaLongRun001", "waiting", 1), "it does not wait"
        assert self.stand_in.call_back(url, signed=False) == 200
        time.sleep(1.5)
        assert self.n8n.wait_for("badBatutaLongRun001", "waiting", 1), "the forged call ended the wait"
        assert self.stand_in.call_back(url, signed=True) == 200
        assert self.n8n.wait_for("badBatutaLongRun001", "success", 1), self.n8n.executions("badBatutaLongRun001")
        return "waits on, until the true one comes"

    def _long_run_failed(self) -> str:
        self.stand_in.turn("failing")
        self._start_long_run("bad")
        assert self.stand_in.call_back(list(self.stand_in.callbacks.values())[-1], signed=True) == 200
        assert self.n8n.wait_for("badBatutaLongRun001", "error", 1), self.n8n.executions("badBatutaLongRun001")
        self.stand_in.turn("well")
        return "error"

    def _start_long_run(self, prefix: str) -> None:
        known = len(self.stand_in.callbacks)
        status, text = self.n8n.ask(f"{prefix}batuta-long-run", {})
        assert status == 200, text
        give_up = time.monotonic() + 15
        stood_in = bool(prefix) or self.real.token == self.stand_in.token
        while stood_in and len(self.stand_in.callbacks) == known and time.monotonic() < give_up:
            time.sleep(0.1)
        assert not stood_in or len(self.stand_in.callbacks) > known, "nothing was started"


def main() -> int:
    """Read the command line, set everything up, try, and clean up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--n8n", type=Path, required=True, help="folder with node_modules/n8n")
    parser.add_argument("--batuta", default="", help="address of a running Batuta; without it a stand-in answers")
    parser.add_argument("--token", default="", help="bearer token for it; empty in open loopback mode")
    parser.add_argument("--callback-secret", default="none", help="its CALLBACK_SECRET")
    given = parser.parse_args()
    stand_in = StandIn(token=secrets.token_urlsafe(12), secret=secrets.token_urlsafe(24))
    server, sink = StandInServer(stand_in), MailSink()
    serve(server)
    serve(sink)
    fake = Target(server.url, stand_in.token, stand_in.secret)
    real = Target(given.batuta.rstrip("/"), given.token, given.callback_secret) if given.batuta else fake
    with tempfile.TemporaryDirectory(prefix="n8n-", ignore_cleanup_errors=True) as home:
        n8n = N8n(given.n8n, Path(home))
        try:
            return _try(n8n, TryOut(n8n, stand_in, sink, real), real, fake)
        finally:
            n8n.stop()
            server.shutdown()
            sink.shutdown()


def _try(n8n: N8n, trials: TryOut, real: Target, fake: Target) -> int:
    files = sorted(path.name for path in HERE.glob("*.json"))
    n8n.take_in("credentials", credentials(real, trials.sink.port) + credentials(fake, trials.sink.port, "bad"))
    gone = copy_of("daily_batch.json", Target(NOBODY, "x", "x"), "bad") | {"id": "goneBatutaDailyBatch"}
    n8n.take_in("workflow", [copy_of(f, real) for f in files] + [copy_of(f, fake, "bad") for f in files] + [gone])
    print(f"PASS  {len(files)} workflows imported: {', '.join(files)}", flush=True)
    trials.by_command()
    for workflow_id in ("BatutaManualMake", "BatutaLongRun001", "badBatutaManualMake", "badBatutaLongRun001"):
        n8n.run("publish:workflow", f"--id={workflow_id}")
    n8n.start()
    trials.by_server()
    print("all passed" if not trials.failures else f"{trials.failures} failed", flush=True)
    return 1 if trials.failures else 0


if __name__ == "__main__":
    sys.exit(main())
