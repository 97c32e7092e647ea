"""Stand in for Batuta and for a mail server, so that the workflows' every branch can be tried on one machine.

The HTTP half answers like Batuta's own routes, with tokens, `Idempotency-Key` and signed callbacks; what it
answers next is chosen by its `mood`. The mail half accepts everything and keeps it.
"""

# ruff: noqa: INP001 - a program's part, not a package

from __future__ import annotations

import email
import email.policy
import hashlib
import hmac
import json
import socketserver
import threading
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

HOST = "127.0.0.1"
BATCH = {
    "success": True,
    "retrain_triggered": False,
    "ideas_generated": 5,
    "prompts_generated": 12,
    "prompts_written": 12,
    "summary": "5 new structure ideas generated. 12 prompts created.",
    "error": None,
    "degraded": ["strategist"],
}
REFUSED = BATCH | {
    "success": False,
    "ideas_generated": 0,
    "prompts_generated": 0,
    "prompts_written": 0,
    "summary": "",
    "error": "batch_disabled",
    "degraded": [],
}


@dataclass(frozen=True)
class Request:
    """One request as it came in; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class StandIn:
    """What the stand-in knows.

    Args:
        token: the bearer token it demands.
        secret: key of the callbacks' signatures.
        mood: `well`, `refused` (200 with success false), `away` (503), `slow` (202 first) or `failing` (runs fail).
    """

    token: str
    secret: str
    mood: str = "well"
    requests: list[Request] = field(default_factory=list)
    answers: dict[str, tuple[Any, int, Any]] = field(default_factory=dict)
    callbacks: dict[str, str] = field(default_factory=dict)

    def turn(self, mood: str) -> None:
        """Change the mood; what was answered before is forgotten."""
        self.mood = mood
        self.answers.clear()

    def seen(self, path: str) -> list[Request]:
        """List the requests for one path, in order."""
        return [request for request in self.requests if request.path == path]

    def answer(self, request: Request) -> tuple[int, Any]:
        """Choose status and body for a request, the same one for the same key and body."""
        if request.path == "/health":
            return 200, {"status": "healthy", "likes_since_last_retrain": 0, "threshold": 25}
        given = request.headers.get("authorization", "")
        if given != f"Bearer {self.token}":
            return _problem(403 if given.startswith("Bearer ") else 401, "The token is missing or unknown.")
        key = request.path + " " + request.headers.get("idempotency-key", uuid.uuid4().hex)
        if key in self.answers:
            body, status, answer = self.answers[key]
            return (status, answer) if body == request.body else _problem(409, "The key was used with another body.")
        status, answer = self._fresh_answer(request)
        if status < HTTPStatus.BAD_REQUEST:  # an error does not use a key up
            self.answers[key] = (request.body, status, answer)
        return status, answer

    def _fresh_answer(self, request: Request) -> tuple[int, Any]:
        if request.method == "GET" and request.path.startswith("/runs/"):
            return 200, self._run(request.path.split("/")[2])
        if self.mood == "away":
            return _problem(503, "The database does not answer.")
        route = {
            "/events/daily_batch": self._batch,
            "/events/manual_generate": _manual_answer,
            "/events/like": _like_answer,
            "/workflow": self._start,
        }.get(request.path)
        return route(request) if route else _problem(404, f"There is no {request.path}.")

    def _batch(self, _request: Request) -> tuple[int, Any]:
        run_id = str(uuid.uuid4())
        if self.mood == "slow":
            return 202, _accepted(run_id)
        return 200, (REFUSED if self.mood == "refused" else BATCH) | {"task_id": run_id}

    def _start(self, request: Request) -> tuple[int, Any]:
        run_id = str(uuid.uuid4())
        self.callbacks[run_id] = request.body["callback_url"]
        return 202, _accepted(run_id)

    def _run(self, run_id: str) -> dict[str, Any]:
        run: dict[str, Any] = {"task_id": run_id, "kind": "workflow", "status": "completed", "error": None, "steps": []}
        run["cost"] = {"tokens": 0, "dollars": 0.0}
        if self.mood == "failing":
            error = {"code": "fatal", "message": "The stand-in was told to fail."}
            step = {"key": "0.0", "status": "failed", "error": error}
            return run | {"status": "failed", "result": {"status": "failed", "result": {}}, "steps": [step]}
        if run_id in self.callbacks:
            return run | {"result": {"status": "completed", "result": {"ideas": ["one", "two", "three"]}, "errors": []}}
        return run | {"kind": "daily_batch", "result": BATCH | {"task_id": run_id}}

    def call_back(self, url: str, *, signed: bool, within_s: float = 15) -> int:
        """Deliver a run's end as Batuta does, again until it is taken.

        Args:
            url: the `callback_url` of the run.
            signed: False sends a signature made with another key.
            within_s: seconds after which it gives up.

        Returns:
            The last HTTP status.
        """
        body = json.dumps({"status": "completed", "result": {"note": "señal"}}, ensure_ascii=False).encode()
        key = self.secret if signed else "another key"
        signature = "sha256=" + hmac.new(key.encode(), body, hashlib.sha256).hexdigest()
        headers = {"X-Batuta-Signature": signature, "X-Batuta-Delivery": str(uuid.uuid4())}
        headers["Content-Type"] = "application/json"
        give_up = time.monotonic() + within_s
        while True:
            status = post(url, body, headers)[0]
            if status < HTTPStatus.BAD_REQUEST or time.monotonic() > give_up:
                return status
            time.sleep(0.3)  # n8n answers 409 until its Wait node has been reached


def post(url: str, body: bytes, headers: dict[str, str], timeout_s: float = 150) -> tuple[int, str]:
    """POST once; an HTTP error is an answer like any other."""
    request = urllib.request.Request(url, body, headers, method="POST")  # noqa: S310 - an address of ours
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:  # noqa: S310 - the same
            return response.status, response.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def _problem(status: int, detail: str) -> tuple[int, Any]:
    return status, {"type": "about:blank", "title": "Problem", "status": status, "detail": detail, "code": "stand_in"}


def _accepted(run_id: str) -> dict[str, str]:
    url = f"/runs/{run_id}"
    return {"task_id": run_id, "status": "running", "status_url": url, "events_url": f"{url}/events"}


def _manual_answer(request: Request) -> tuple[int, Any]:
    answer = {"success": True, "retrain_triggered": request.body["force_retrain"], "error": None}
    return 200, answer | {"prompts_generated": request.body["num_prompts"], "renderer": request.body["renderer"]}


def _like_answer(_request: Request) -> tuple[int, Any]:
    counted = {"status": "recorded", "likes_since_last_retrain": 1, "threshold": 25, "threshold_reached": False}
    return 200, counted | {"retrain_triggered": False, "message": "Like recorded. 24 until next learning cycle."}


class StandInServer(ThreadingHTTPServer):
    """Serve a `StandIn` on a free port of the loopback."""

    daemon_threads = True

    def __init__(self, knows: StandIn) -> None:
        self.knows = knows
        super().__init__((HOST, 0), _StandInHandler)
        self.url = f"http://{HOST}:{self.server_address[1]}"


class _StandInHandler(BaseHTTPRequestHandler):
    server: StandInServer

    def do_GET(self) -> None:
        self._serve(None)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._serve(json.loads(raw or b"{}"))

    def _serve(self, body: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path.partition("?")[0], headers, body)
        self.server.knows.requests.append(request)
        status, answer = self.server.knows.answer(request)
        raw = json.dumps(answer).encode()
        self.send_response(status)
        problem = status >= HTTPStatus.BAD_REQUEST
        self.send_header("Content-Type", "application/problem+json" if problem else "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *_: Any) -> None:
        """Say nothing; the requests are kept."""


@dataclass(frozen=True)
class Mail:
    """A mail that was delivered."""

    sender: str
    to: str
    subject: str
    text: str


class MailSink(socketserver.ThreadingTCPServer):
    """Accept every mail on a free port of the loopback and keep it in `mails`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        super().__init__((HOST, 0), _MailHandler)
        self.port = int(self.server_address[1])


class _MailHandler(socketserver.StreamRequestHandler):
    server: MailSink
    REPLIES: ClassVar = dict.fromkeys(("EHLO", "HELO", "MAIL", "RCPT", "RSET", "NOOP"), "250 ok")

    def handle(self) -> None:
        self._say("220 sink")
        while line := self.rfile.readline():
            verb = line.decode(errors="replace").strip().partition(" ")[0].upper()
            if verb == "QUIT":
                return self._say("221 bye")
            if verb == "DATA":
                self._say("354 go on")
                self._keep()
            self._say("250 kept" if verb == "DATA" else self.REPLIES.get(verb, "502 unknown"))
        return None

    def _keep(self) -> None:
        lines: list[bytes] = []
        while (line := self.rfile.readline()) and line.rstrip(b"\r\n") != b".":
            lines.append(line.removeprefix(b".") if line.startswith(b"..") else line)
        message = email.message_from_bytes(b"".join(lines), policy=email.policy.default)
        text = message.get_body(("plain",))
        content = str(text.get_content()) if text else ""
        self.server.mails.append(Mail(str(message["From"]), str(message["To"]), str(message["Subject"]), content))

    def _say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


def serve(server: socketserver.BaseServer) -> None:
    """Serve on a thread of its own that ends with the program."""
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
