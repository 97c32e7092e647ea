"""Try every workflow of this folder in a real n8n, and print a verdict a line.

    python n8n/try_out.py --n8n FOLDER                                   # against a stand-in for Batuta
    python n8n/try_out.py --n8n FOLDER --batuta URL --token T --callback-secret S

FOLDER holds `node_modules/n8n` (README.md has the recipe). A home folder for n8n is made and thrown away, mails go to
a sink, and every process that is started is stopped. With `--batuta` the good branches run against that system, and
make a batch, prompts, a like and a run there; the branches for failures always use the stand-in.
The exit code is 0 when every line says PASS.
"""

# ruff: noqa: INP001, T201, PLR2004 - a program; what it prints is its product, what it expects stands in its trials

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from installed import N8n
from stand_in import HOST, MailSink, StandIn, StandInServer, serve

HERE = Path(__file__).resolve().parent
FILES = ("daily_batch.json", "like_from_airtable.json", "long_run.json", "manual_generation.json")
WEBHOOK_KEY = ("X-Webhook-Key", secrets.token_urlsafe(16))
NOBODY = f"http://{HOST}:9"  # the discard port: nothing listens there
LIKE = {"record_id": "recEXAMPLE0000001", "structure_id": "42", "image_url": "https://example.com/like.png"}
LIKE_WORDS = {"recorded", "duplicate", "queued", "threshold_reached"}
# A document that any Batuta can run: three waits side by side, then one text.
DOCUMENT = {
    "workflow": [
        {
            "type": "linear",
            "tasks": [
                {
                    "for_each": "{cities}",
                    "tool": "wait",
                    "input": {"seconds": 1, "value": "{item}"},
                    "output_variable": "visited",
                }
            ],
        },
        {
            "tasks": [
                {"tool": "join_text", "input": {"items": "{visited}", "separator": ", "}, "output_variable": "note"}
            ]
        },
    ],
    "variables": {"cities": ["Sevilla", "Cádiz", "Jerez"]},
}
# A second set of workflows and credentials, always pointed at the stand-in.
BAD = "bad"


@dataclass(frozen=True)
class Target:
    """Where a workflow sends its requests, with which token, and whose callbacks it believes."""

    url: str
    token: str
    secret: str


class UnexpectedError(Exception):
    """A trial saw something else than it should."""


def expect(met: object, seen: object) -> None:
    """Fail the trial with what was seen unless the expectation is met."""
    if not met:
        raise UnexpectedError(str(seen))


def credentials(target: Target, mail_port: int, prefix: str = "") -> list[dict[str, Any]]:
    """Write the credentials that the workflows name; `prefix` keeps two sets apart."""
    mail = {"user": "", "password": "", "host": HOST, "port": mail_port, "secure": False, "disableStartTls": True}
    data = {
        "BatutaToken00001": ("httpBearerAuth", {"token": target.token}),
        "BatutaWebhook001": ("httpHeaderAuth", {"name": WEBHOOK_KEY[0], "value": WEBHOOK_KEY[1]}),
        "BatutaMail000001": ("smtp", mail),
        "BatutaAirtable01": ("airtableTokenApi", {"accessToken": "unused"}),
        "BatutaCallback01": ("crypto", {"hmacSecret": target.secret}),
    }
    return [
        {"id": prefix + name, "name": prefix + name, "type": kind, "data": value}
        for name, (kind, value) in data.items()
    ]


def copy_of(file: str, target: Target, prefix: str = "") -> dict[str, Any]:
    """Read a workflow and point its Settings node at a target; without a token nothing is authenticated."""
    workflow: dict[str, Any] = json.loads((HERE / file).read_text(encoding="utf-8"))
    workflow["id"] = prefix + workflow["id"]
    for node in workflow["nodes"]:
        for credential in node.get("credentials", {}).values():
            credential["id"] = prefix + credential["id"]
        if node["name"] == "Settings":
            fields = node["parameters"]["assignments"]["assignments"]
            next(field for field in fields if field["name"] == "batuta_url")["value"] = target.url
        if node["type"].endswith(".httpRequest") and not target.token:
            node["parameters"]["authentication"] = "none"
            node.pop("credentials", None)
        if prefix and node["type"].endswith(".webhook"):
            node["parameters"]["path"] = prefix + node["parameters"]["path"]
            node["webhookId"] = prefix + node["webhookId"]
    return workflow


class TryOut:
    """All the trials, in the order in which they are printed.

    Args:
        n8n: an installed one with an empty home.
        stand_in: behind the copies prefixed `bad`, and behind the workflows themselves when `real` is it.
        sink: where mails arrive.
        real: where the workflows themselves go.
        fake: the stand-in's address, token and secret.
    """

    def __init__(self, n8n: N8n, stand_in: StandIn, sink: MailSink, real: Target, fake: Target) -> None:
        self.n8n = n8n
        self.stand_in = stand_in
        self.sink = sink
        self.real = real
        self.fake = fake
        self.failures = 0

    def run(self) -> int:
        """Run everything; the exit code."""
        self._trial("all workflows are imported", self._take_in)
        self._trial("daily_batch: success is mailed", self._daily_success)
        self._trial("daily_batch: by schedule, the same key again", self._daily_again)
        self._trial("daily_batch: success false", partial(self._daily_in, "refused", "batch_disabled"))
        self._trial("daily_batch: HTTP 503", partial(self._daily_in, "away", "The database does not answer"))
        self._trial("daily_batch: 202, then its end", partial(self._daily_in, "slow", "5 ideas, 12 prompts"))
        self._trial("daily_batch: nobody listens", partial(self._mailed, "goneBatutaDailyBatch", "failed"))
        self._trial("manual_generation: by hand", self._manual_by_hand)
        self._trial("like_from_airtable: by hand", self._like_by_hand)
        self._trial("n8n serves webhooks", self._serve)
        self._trial("manual_generation: webhook", self._manual_by_webhook)
        self._trial("manual_generation: webhook with a wrong key", self._manual_wrong_key)
        self._trial("manual_generation: HTTP 503", self._manual_away)
        self._trial("long_run: resumed by the callback", self._long_run)
        self._trial("long_run: a forged callback is dropped", self._long_run_forged)
        self._trial("long_run: a failed run fails the execution", self._long_run_failed)
        print("all passed" if not self.failures else f"{self.failures} failed", flush=True)
        return 1 if self.failures else 0

    def _trial(self, name: str, body: Callable[[], str]) -> None:
        started = time.monotonic()
        self.stand_in.turn("well")
        try:
            verdict, detail = "PASS", body()
        except Exception as error:  # noqa: BLE001 - one trial's fault must not hide the others' verdicts
            self.failures += 1
            verdict, detail = "FAIL", f"{type(error).__name__}: {error}"
        print(f"{verdict}  {name:<45} {time.monotonic() - started:5.1f} s  {detail}", flush=True)

    def _take_in(self) -> str:
        port = self.sink.port
        self.n8n.take_in("credentials", credentials(self.real, port) + credentials(self.fake, port, BAD))
        gone = copy_of("daily_batch.json", Target(NOBODY, "x", "x"), BAD) | {"id": "goneBatutaDailyBatch"}
        scheduled = copy_of("daily_batch.json", self.fake, BAD) | {"id": "scheduledDailyBatch"}
        scheduled["nodes"] = [node for node in scheduled["nodes"] if node["name"] != "By hand"] + [
            node | {"disabled": True} for node in scheduled["nodes"] if node["name"] == "By hand"
        ]
        copies = [copy_of(file, self.real) for file in FILES] + [copy_of(file, self.fake, BAD) for file in FILES]
        self.n8n.take_in("workflow", [*copies, gone, scheduled])
        return ", ".join(FILES)

    def _daily_success(self) -> str:
        return self._mailed("BatutaDailyBatch", "ideas, ", "Ideas: ", "Prompts: ", "Learning cycle: ", "Run: ")

    def _daily_again(self) -> str:
        first, second = (self._mailed("scheduledDailyBatch", "5 ideas") and self.sink.mails[-1].text for _ in range(2))
        expect(first == second, (first, second))
        keys = {request.headers["idempotency-key"] for request in self.stand_in.seen("/events/daily_batch")[-2:]}
        expect(len(keys) == 1, keys)
        return f"{keys.pop()}, one batch"

    def _daily_in(self, mood: str, subject: str) -> str:
        self.stand_in.turn(mood)
        return self._mailed("badBatutaDailyBatch", subject)

    def _mailed(self, workflow_id: str, subject: str, *lines: str) -> str:
        before = len(self.sink.mails)
        nodes = self.n8n.execute(workflow_id)
        expect(len(self.sink.mails) == before + 1, f"{len(self.sink.mails) - before} mails; nodes {list(nodes)}")
        mail = self.sink.mails[-1]
        expect(subject in mail.subject, mail)
        expect(all(line in mail.text for line in lines), mail.text)
        expect("undefined" not in mail.subject + mail.text, mail)
        return mail.subject

    def _manual_by_hand(self) -> str:
        answer = self.n8n.execute("BatutaManualMake")["Make the prompts"][0][0]
        body = answer["body"]
        expect(answer["statusCode"] == 200, answer)
        expect((body["success"], body["prompts_generated"], body["renderer"]) == (True, 12, "ImageFX"), body)
        return "12 prompts for ImageFX"

    def _like_by_hand(self) -> str:
        answer = self.n8n.execute("BatutaLikesTaken")["Record the like"][0][0]
        expect(answer["status"] in LIKE_WORDS, answer)
        for request in self.stand_in.seen("/events/like"):
            expect(request.body == LIKE, request)
            expect(request.headers["idempotency-key"].startswith("like-recEXAMPLE0000001-"), request)
        return f"{answer['status']}: {answer['message']}"

    def _serve(self) -> str:
        for name in ("BatutaManualMake", "BatutaLongRun001"):
            for workflow_id in (name, BAD + name):
                self.n8n.run("publish:workflow", f"--id={workflow_id}")
        self.n8n.start()
        return "published and started"

    def _ask(self, path: str, body: dict[str, Any], key: str = WEBHOOK_KEY[1]) -> tuple[int, str]:
        return self.n8n.ask(path, body, {WEBHOOK_KEY[0]: key})

    def _manual_by_webhook(self) -> str:
        status, text = self._ask("batuta-generate", {"num_prompts": 3, "renderer": "Recraft"})
        expect(status == 200, (status, text))
        answer = json.loads(text)
        expect((answer["prompts_generated"], answer["renderer"]) == (3, "Recraft"), text)
        return "3 prompts for Recraft"

    def _manual_wrong_key(self) -> str:
        status, text = self._ask("batuta-generate", {}, key="wrong")
        expect(status == 403, (status, text))
        return "403"

    def _manual_away(self) -> str:
        self.stand_in.turn("away")
        status, text = self._ask("badbatuta-generate", {})
        expect(status == 503, (status, text))
        return str(json.loads(text)["detail"])

    def _long_run(self) -> str:
        url = self._start_long_run("")
        if url:
            status = self.stand_in.call_back(url, signed=True)
            expect(status == 200, f"n8n answered the callback with {status}")
        expect(self.n8n.wait_for("BatutaLongRun001", "success"), self.n8n.executions("BatutaLongRun001"))
        return "waited, and went on to the result"

    def _long_run_forged(self) -> str:
        url = self._start_long_run(BAD)
        expect(self.n8n.wait_for("badBatutaLongRun001", "waiting"), "it does not wait")
        expect(self.stand_in.call_back(url, signed=False) == 200, "n8n did not take the forged call")
        time.sleep(1.5)  # long enough for n8n to go on, if it did
        expect(self.n8n.wait_for("badBatutaLongRun001", "waiting"), self.n8n.executions("badBatutaLongRun001"))
        expect(self.stand_in.call_back(url, signed=True) == 200, "n8n did not take the true call")
        expect(self.n8n.wait_for("badBatutaLongRun001", "success"), self.n8n.executions("badBatutaLongRun001"))
        return "waits on, until the true one comes"

    def _long_run_failed(self) -> str:
        self.stand_in.turn("failing")
        expect(self.stand_in.call_back(self._start_long_run(BAD), signed=True) == 200, "n8n did not take the call")
        expect(self.n8n.wait_for("badBatutaLongRun001", "error"), self.n8n.executions("badBatutaLongRun001"))
        return "error"

    def _start_long_run(self, prefix: str) -> str:
        """Start one by webhook; the callback's address when the stand-in is behind it, else nothing."""
        known = len(self.stand_in.callbacks)
        status, text = self._ask(f"{prefix}batuta-long-run", DOCUMENT)
        expect(status == 200, (status, text))
        if not prefix and self.real is not self.fake:
            return ""
        give_up = time.monotonic() + 15
        while len(self.stand_in.callbacks) == known:
            expect(time.monotonic() < give_up, "nothing was started")
            time.sleep(0.1)
        return list(self.stand_in.callbacks.values())[-1]


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
            return TryOut(n8n, stand_in, sink, real, fake).run()
        finally:
            n8n.stop()
            server.shutdown()
            sink.shutdown()


if __name__ == "__main__":
    sys.exit(main())
