"""Pieces on their way to a Redis that remembers what it was sent."""

from __future__ import annotations

import asyncio
from typing import Any

from redis.exceptions import ConnectionError as RedisAway

from app.chat.tokens import TokenWriter


class RememberingRedis:
    """Takes pipelines; `away` lets them fail."""

    def __init__(self, *, away: bool = False) -> None:
        self.sent: list[list[dict[str, str]]] = []
        self.away = away
        self._entries: list[dict[str, str]] = []

    def pipeline(self, *, transaction: bool) -> RememberingRedis:
        del transaction
        self._entries = []
        return self

    def xadd(self, key: str, fields: dict[str, str], **_: Any) -> None:
        assert key == "run:r:tokens"
        self._entries.append(fields)

    def expire(self, *_: Any) -> None:
        """Do nothing."""

    publish = expire

    async def execute(self) -> None:
        await asyncio.sleep(0)
        if self.away:
            raise RedisAway("away")
        self.sent.append(self._entries)


def write(client: RememberingRedis, *pieces: str | None, pause_s: float = 0) -> list[dict[str, str]]:
    async def work() -> None:
        writer = TokenWriter(client, "r")  # type: ignore[arg-type]  # a stand-in
        for piece in pieces:
            writer.take(piece)
            await asyncio.sleep(pause_s)
        await writer.close()

    asyncio.run(work())
    return [entry for batch in client.sent for entry in batch]


def test_pieces_that_come_at_once_go_together() -> None:
    client = RememberingRedis()
    entries = write(client, *["x"] * 500)
    assert "".join(entry.get("t", "") for entry in entries) == "x" * 500
    assert len(client.sent) < 20


def test_pieces_that_are_void_are_not_sent_any_more() -> None:
    entries = write(RememberingRedis(), "old", None, "new")
    texts = [entry for entry in entries if "e" not in entry]
    after = texts[texts.index({"v": "1"}) + 1 :]
    assert after == [{"t": "new"}]
    assert entries[-1] == {"e": "1"}


def test_an_answer_without_pieces_still_has_an_end() -> None:
    assert write(RememberingRedis()) == [{"e": "1"}]


def test_half_a_surrogate_pair_does_not_stop_the_rest() -> None:
    assert write(RememberingRedis(), "a\ud83d", "b")[-2] in ({"t": "a?b"}, {"t": "b"})


def test_a_redis_that_is_away_costs_the_pieces_only() -> None:
    assert write(RememberingRedis(away=True), "a", "b") == []
