"""Call the endpoint: the one HTTP client of every contender, with an awaiting and a blocking entry.

Both entries send the same bytes and read the answer with the same function; they differ only in who waits, an event
loop or a thread. Connections are kept and lent last-in first-out, so as many are open as calls are in flight.
`bench/README.md` says why it is not one of the well-known clients; `python -m bench.clients` measures them all.
"""

from __future__ import annotations

import asyncio
import socket

RECEIVE_BYTES = 65_536
HEAD_END = b"\r\n\r\n"
LENGTH = b"content-length:"


class EndpointError(Exception):
    """The endpoint refused, or hung up before its answer was complete."""


def request_for(workflow: str, step: str) -> bytes:
    """Write the request of one step of one workflow."""
    return f"GET /call/{workflow}/{step} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def body_in(received: bytes) -> bytes | None:
    """Cut the body out of what was received so far.

    Returns:
        The body; None while a part of the answer is missing.

    Raises:
        EndpointError: the status is not 200.
    """
    head, end, body = received.partition(HEAD_END)
    if not end:
        return None
    if not head.startswith(b"HTTP/1.1 200"):
        raise EndpointError(head.split(b"\r\n", 1)[0].decode())
    lower = head.lower()
    length = int(lower[lower.index(LENGTH) + len(LENGTH) :].split(b"\r\n", 1)[0])
    return body if len(body) >= length else None


class _Exchange(asyncio.Protocol):
    """One kept connection of the awaiting entry."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.received = b""
        self.answer: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a TCP connection is
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        answer = self.answer
        if answer is None or answer.done():
            return
        try:
            body = body_in(self.received)
        except EndpointError as refused:
            answer.set_exception(refused)
        else:
            if body is not None:
                self.received = b""
                answer.set_result(body)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_exception(exc or EndpointError("hung up"))


class AwaitingClient:
    """Calls from one event loop."""

    def __init__(self, port: int) -> None:
        """Call the endpoint on this loopback port; connects when first used."""
        self._port = port
        self._idle: list[_Exchange] = []

    async def call(self, workflow: str, step: str) -> str:
        """Make one call and wait for its answer, a JSON text.

        Raises:
            EndpointError: refused, or hung up.
            OSError: no connection.
        """
        loop = asyncio.get_running_loop()
        exchange = self._idle.pop() if self._idle else await self._connect(loop)
        exchange.answer = loop.create_future()
        exchange.transport.write(request_for(workflow, step))
        try:
            body = await exchange.answer
        except BaseException:
            exchange.transport.abort()  # half-used: the next call must not read this one's answer
            raise
        self._idle.append(exchange)
        return body.decode()

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> _Exchange:
        _, exchange = await loop.create_connection(_Exchange, "127.0.0.1", self._port)
        return exchange


class BlockingClient:
    """Calls from any number of threads."""

    def __init__(self, port: int) -> None:
        """Call the endpoint on this loopback port; connects when first used."""
        self._port = port
        self._idle: list[socket.socket] = []  # append and pop are atomic

    def call(self, workflow: str, step: str) -> str:
        """Make one call and block until its answer, a JSON text.

        Raises:
            EndpointError: refused, or hung up.
            OSError: no connection.
        """
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = socket.create_connection(("127.0.0.1", self._port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection.sendall(request_for(workflow, step))
            body = self._read(connection)
        except BaseException:
            connection.close()
            raise
        self._idle.append(connection)
        return body.decode()

    @staticmethod
    def _read(connection: socket.socket) -> bytes:
        received = b""
        while True:
            data = connection.recv(RECEIVE_BYTES)
            if not data:
                raise EndpointError("hung up")
            received += data
            body = body_in(received)
            if body is not None:
                return body
