"""The servers that speak OpenAI's wire, and what each remembers of its one customer."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulator.openai_cache import PrefixCache
from simulator.openai_models import GOOGLE, OPENAI, OPENROUTER, ModelFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

A_MINUTE_S = 60.0
AS_OF = "2026-11-20"
"""The day of which `openai_models` speaks. It stays that day unless told otherwise, or tests would end with models."""
GOOGLE_FIELDS = frozenset(
    {
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "n",
        "stop",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "response_format",
        "reasoning_effort",
        "seed",
        "parallel_tool_calls",
        "user",
    }
)
OPENAI_FIELDS = GOOGLE_FIELDS | frozenset(
    {
        "audio",
        "frequency_penalty",
        "function_call",
        "functions",
        "logit_bias",
        "logprobs",
        "metadata",
        "modalities",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "top_logprobs",
        "verbosity",
        "web_search_options",
    }
)


@dataclass(frozen=True, eq=False)
class Wire:
    """One server's ways.

    Args:
        name: what a test configures it by.
        prefix: of its routes.
        models: what it offers; empty takes any name.
        fields: what a chat may hold; empty takes anything.
    """

    name: str
    prefix: str
    models: Mapping[str, ModelFacts] = field(default_factory=dict)
    fields: frozenset[str] = frozenset()


OPENAI_WIRE = Wire("openai", "/openai/v1", OPENAI, OPENAI_FIELDS)
OPENROUTER_WIRE = Wire("openrouter", "/openrouter/api/v1", OPENROUTER)
GOOGLE_WIRE = Wire("google_ai", "/google/v1beta/openai", GOOGLE, GOOGLE_FIELDS)
OWN_WIRE = Wire("compatible", "/compatible/v1")
"""A server of one's own: any model, no key, no base64."""
WIRES = (OPENAI_WIRE, OPENROUTER_WIRE, GOOGLE_WIRE, OWN_WIRE)


@dataclass
class File:
    """A file that was sent, or that a batch left."""

    file_id: str
    name: str
    purpose: str
    content: bytes
    created_at: float


@dataclass
class Batch:
    """One batch; `status` is what it was when last looked at."""

    batch_id: str
    input_file_id: str
    endpoint: str
    created_at: float
    ends_at: float
    metadata: dict[str, str]
    status: str = "validating"
    errors: list[dict[str, Any]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"total": 0, "completed": 0, "failed": 0})
    output_file_id: str | None = None
    error_file_id: str | None = None
    ended_at: float | None = None


@dataclass
class OpenAIAccount:
    """One account at one server.

    Args:
        today: ISO date by which models are gone.
        clock_offset_s: added to the clock by which caches and batches live.
        retired: ids that are gone whatever the day.
        exhausted: no credit is left.
        requests_a_minute: more are refused for a while; 0 for no limit.
        cut_at_max_tokens: answers end where the request's limit says.
        context_tokens: in place of every model's own; 0 leaves those.
        batch_delay_s: how long a batch created from now on takes.
        batch_finishes: how many of its items a batch comes to before it expires or is cancelled.
    """

    today: str = AS_OF
    clock_offset_s: float = 0.0
    retired: list[str] = field(default_factory=list)
    exhausted: bool = False
    requests_a_minute: int = 0
    cut_at_max_tokens: bool = False
    context_tokens: int = 0
    batch_delay_s: float = 0.0
    batch_finishes: int = 0
    cost_usd: float = 0.0
    cache: PrefixCache = field(default_factory=PrefixCache)
    files: dict[str, File] = field(default_factory=dict)
    batches: dict[str, Batch] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _recent: deque[float] = field(default_factory=deque)

    def now(self) -> float:
        """Tell the time as this account sees it, in seconds."""
        return time.time() + self.clock_offset_s

    def date(self) -> dt.date:
        """Tell the day by which models are gone."""
        return dt.date.fromisoformat(self.today)

    def name(self, prefix: str) -> str:
        """Make an id, such as `chatcmpl-…`."""
        return f"{prefix}{next(self.numbers):016d}"

    def wait_s(self) -> float:
        """Count a request; say how long until it would be taken, 0 when it is."""
        if not self.requests_a_minute:
            return 0.0
        now = time.monotonic()
        while self._recent and now - self._recent[0] >= A_MINUTE_S:
            self._recent.popleft()
        if len(self._recent) >= self.requests_a_minute:
            return A_MINUTE_S - (now - self._recent[0])
        self._recent.append(now)
        return 0.0

    def keep(self, name: str, purpose: str, content: bytes) -> File:
        """Keep a file."""
        file = File(self.name("file-"), name, purpose, content, self.now())
        self.files[file.file_id] = file
        return file
