"""Anthropic's prompt cache: what a request reads from it, what it writes, and how its input is counted by kind."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.answers import count_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LOOKBACK = 20
"""Places that are looked at per breakpoint, itself included."""
LIVES_S = {"5m": 300.0, "1h": 3600.0}
IMAGE_TOKENS = 100
BESIDES_BLOCKS = ("thinking", "tool_choice", "output_config")
"""Changing one of these makes the messages another prefix; tools and system stay."""


@dataclass
class Entry:
    """One prefix that is kept."""

    ttl: str
    until: float


@dataclass(frozen=True)
class _Place:
    """A block's end: the prefix up to there."""

    digest: str
    tokens: int
    ttl: str


@dataclass(frozen=True)
class Count:
    """A request's input by kind, and what the cache learns from it once the answer begins."""

    input: int
    read: int
    write_5m: int
    write_1h: int
    kept: tuple[tuple[str, str], ...] = ()
    """Digests and lives."""

    @property
    def total(self) -> int:
        """All input, cached or not."""
        return self.input + self.read + self.write_5m + self.write_1h


@dataclass
class PromptCache:
    """The prefixes of one account."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def count(self, body: Mapping[str, Any], least: int, now: float) -> Count:
        """Count a request's input, and give what it reads a new life.

        Args:
            body: of the request.
            least: tokens below which a prefix is not kept.
            now: seconds.
        """
        places = list(_places(body))
        total = places[-1].tokens if places else 0
        marked = [number for number, place in enumerate(places) if place.ttl and place.tokens >= least]
        if not marked:
            return Count(total, 0, 0, 0)
        hit = self._longest(places, marked, now)
        read = places[hit].tokens if hit >= 0 else 0
        written, before = {"5m": 0, "1h": 0}, read
        for number in marked:
            if number > hit:
                written[places[number].ttl] += places[number].tokens - before
                before = places[number].tokens
        kept = tuple((places[number].digest, places[number].ttl) for number in marked if number > hit)
        self._refresh(places[: hit + 1], now)
        return Count(total - max(before, read), read, written["5m"], written["1h"], kept)

    def keep(self, count: Count, asked_at: float) -> None:
        """Write what a request marked; a life is measured from the request's start."""
        for digest, ttl in count.kept:
            self.entries[digest] = Entry(ttl, asked_at + LIVES_S[ttl])

    def _longest(self, places: list[_Place], marked: list[int], now: float) -> int:
        for number in reversed(marked):
            for earlier in range(number, max(-1, number - LOOKBACK), -1):
                entry = self.entries.get(places[earlier].digest)
                if entry is not None and entry.until > now:
                    return earlier
        return -1

    def _refresh(self, places: list[_Place], now: float) -> None:
        for place in places:
            entry = self.entries.get(place.digest)
            if entry is not None and entry.until > now:
                entry.until = now + LIVES_S[entry.ttl]


def _places(body: Mapping[str, Any]) -> Iterator[_Place]:
    """Walk the prompt in the order in which it is read, each block's end with the digest of all before it."""
    blocks = list(_blocks(body))
    automatic = (body.get("cache_control") or {}).get("ttl", "5m") if body.get("cache_control") else ""
    digest = hashlib.sha256(str(body.get("model")).encode())
    tokens, in_messages = 0, False
    for number, (section, block) in enumerate(blocks):
        if section == "messages" and not in_messages:
            in_messages = True
            digest.update(json.dumps([body.get(key) for key in BESIDES_BLOCKS], sort_keys=True).encode())
        bare = {key: value for key, value in block.items() if key != "cache_control"}
        digest.update(json.dumps([section, bare], sort_keys=True).encode())
        tokens += _tokens(bare)
        control = block.get("cache_control")
        ttl = control.get("ttl", "5m") if control else (automatic if number == len(blocks) - 1 else "")
        yield _Place(digest.hexdigest(), tokens, ttl)


def _blocks(body: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for tool in body.get("tools") or []:
        yield "tools", tool
    for block in _as_blocks(body.get("system")):
        yield "system", block
    for message in body.get("messages") or []:
        for block in _as_blocks(message.get("content")):
            yield "messages", {"role": message["role"], **block}


def _as_blocks(content: Any) -> list[dict[str, Any]]:
    if not content:
        return []
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _tokens(block: Mapping[str, Any]) -> int:
    if block.get("type") == "image":
        return IMAGE_TOKENS
    text = block.get("text")
    return count_tokens(text if isinstance(text, str) else json.dumps(block))
