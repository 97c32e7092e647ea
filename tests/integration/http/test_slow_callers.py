"""Callers who never finish their sentence cost nobody else a thread."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from app.formation import PROGRAMS

THREADS = 2
SLOW_CALLERS = 12
START_S = 15
SOON_S = 3


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A server as the formation starts it, around a page that needs nothing."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        number = int(probe.getsockname()[1])
    line = next(program.line for program in PROGRAMS if program.name == "web").split()
    worker_class = line[line.index("--worker-class") + 1]
    options = ["--worker-class", worker_class, "--threads", str(THREADS), "--no-control-socket", "--log-level", "error"]
    command = [sys.executable, "-m", "gunicorn", *options, "--bind", f"127.0.0.1:{number}", "werkzeug.testapp:test_app"]
    process = subprocess.Popen(command)
    try:
        ends_at = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", number), timeout=1).close()
                break
            except ConnectionRefusedError:
                assert time.monotonic() < ends_at, "the server does not start"
                time.sleep(0.05)
        yield number
    finally:
        process.terminate()
        process.wait(START_S)


def _ask(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON_S)
    with closing(connection):
        connection.request("GET", "/")
        return connection.getresponse().status


@pytest.mark.parametrize("begun", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-Half: a"])
def test_callers_who_do_not_finish_their_head_hold_nobody_up(port: int, begun: bytes) -> None:
    with ExitStack() as slow:
        for _ in range(SLOW_CALLERS):
            caller = slow.enter_context(socket.create_connection(("127.0.0.1", port)))
            caller.sendall(begun)
        assert [_ask(port) for _ in range(THREADS + 1)] == [200] * (THREADS + 1)


def test_a_head_that_comes_in_two_parts_is_answered(port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=SOON_S)) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHo")
        time.sleep(0.2)
        caller.sendall(b"st: x\r\n\r\n")
        assert caller.recv(12) == b"HTTP/1.1 200"


def test_a_kept_connection_serves_one_request_after_the_other(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SOON_S)
    with closing(connection):
        for _ in range(3):
            connection.request("GET", "/")
            answer = connection.getresponse()
            assert answer.status == 200
            answer.read()


def test_two_requests_sent_at_once_are_both_answered(port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=SOON_S)) as caller:
        caller.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while part := caller.recv(65_536):
            received += part
        assert received.count(b"HTTP/1.1 200") == 2


def test_a_caller_who_says_nothing_is_hung_up_on_in_the_end(port: int) -> None:
    with closing(socket.create_connection(("127.0.0.1", port), timeout=15)) as caller:
        caller.sendall(b"GET / HT")
        with suppress(ConnectionResetError):
            assert caller.recv(1) == b""
