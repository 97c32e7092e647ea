"""An answer's pieces on their way from worker to web: a Redis stream of their own, beside the journal.

`XRANGE run:{id}:tokens - +` reads it while it lasts. A piece that is lost is lost: the whole answer comes from the
journal. Entries: `t` a piece of text, `v` all before it is void, `e` there will be no more.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from app.runs.streams import CHANNEL

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from redis import Redis
    from redis.asyncio import Redis as LoopRedis

logger = logging.getLogger(__name__)

EVERY_S = 0.02
"""Pieces that come within this time go together: fewer messages, and no eye sees it."""

TTL_S = 600
LENGTH = 20_000  # entries a stream keeps; at 50 a second that is over what TTL_S holds
FIRST = "0-0"


@dataclass(frozen=True)
class Piece:
    """One entry as its reader sees it; `text` is None where what came before is void."""

    text: str | None
    is_last: bool = False


def stream_key(run_id: str) -> str:
    """Name a run's stream of pieces."""
    return f"run:{run_id}:tokens"


def forget_pieces(client: Redis, run_ids: Sequence[str]) -> None:
    """Delete what is left of some runs' pieces; with Redis away they go by themselves, `TTL_S` after the last."""
    try:
        if run_ids:
            client.unlink(*map(stream_key, run_ids))
    except (RedisError, OSError) as error:
        logger.warning("Pieces of deleted answers go when their time is over: %s", error)


class TokenStreams:
    """A worker's way out for pieces.

    Args:
        connect: makes a client on the loop that runs when it is first needed.
    """

    def __init__(self, connect: Callable[[], LoopRedis]) -> None:
        self._connect = connect
        self._client: LoopRedis | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def writer(self, run_id: str) -> TokenWriter:
        """Make the writer of one run's pieces."""
        loop = asyncio.get_running_loop()
        if self._client is None or self._loop is not loop:
            self._client, self._loop = self._connect(), loop
        return TokenWriter(self._client, run_id)


class TokenWriter:
    """Takes pieces as they come and sends them together; a Redis that is away costs the pieces and nothing else.

    Args:
        client: on this loop.
        run_id: whose answer it is.
    """

    def __init__(self, client: LoopRedis, run_id: str) -> None:
        self._client = client
        self._run_id = run_id
        self._entries: list[dict[str, str]] = []
        self._sending: asyncio.Task[None] | None = None

    def take(self, piece: str | None) -> None:
        """Take a piece; None says that those before it are void."""
        if piece is None:
            self._entries = [{"v": "1"}]
        elif self._entries and "t" in self._entries[-1]:
            self._entries[-1]["t"] += piece
        elif piece:
            self._entries.append({"t": piece})
        if self._entries and (self._sending is None or self._sending.done()):
            self._sending = asyncio.create_task(self._send_all())

    async def close(self) -> None:
        """Send what is left, and that it is all."""
        if self._sending is not None:
            await self._sending
        self._entries.append({"e": "1"})
        await self._send_once()

    async def _send_all(self) -> None:
        while self._entries:
            await self._send_once()
            await asyncio.sleep(EVERY_S)

    async def _send_once(self) -> None:
        entries, self._entries = self._entries, []
        key = stream_key(self._run_id)
        pipe = self._client.pipeline(transaction=False)
        for entry in entries:
            fields: dict[Any, Any] = {name: _sendable(text) for name, text in entry.items()}
            pipe.xadd(key, fields, maxlen=LENGTH, approximate=True)
        pipe.expire(key, TTL_S)
        pipe.publish(CHANNEL, self._run_id)
        try:
            await pipe.execute()
        except (RedisError, OSError) as error:
            logger.warning("Pieces of an answer were not sent: %s", error)


class TokenReader:
    """A web process's way in for pieces of one run.

    Args:
        client: reads texts.
        run_id: whose answer it is.
    """

    def __init__(self, client: Redis, run_id: str) -> None:
        self._client = client
        self._key = stream_key(run_id)
        self._last = FIRST

    def read(self) -> list[Piece]:
        """Read what came since the last time; nothing while Redis is away."""
        try:
            entries: Any = self._client.xrange(self._key, min=f"({self._last}")
        except (RedisError, OSError) as error:
            logger.warning("Pieces of an answer cannot be read: %s", error)
            return []
        if entries:
            self._last = entries[-1][0]
        return [_piece(fields) for _, fields in entries]


def _piece(fields: dict[str, str]) -> Piece:
    if "e" in fields:
        return Piece("", is_last=True)
    return Piece(None if "v" in fields else fields.get("t", ""))


def _sendable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair cannot be sent
