"""What is asked of a model, what it answers, and what that used up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from enum import StrEnum
from typing import Any


class Blame(StrEnum):
    """Whose fault a failed call is, for the breaker."""

    NONE = "none"
    """The request's, or nobody's: the vendor is well."""
    UNSENT = "unsent"
    """Ours, found before anything was sent: it says nothing of the vendor."""
    MODEL = "model"
    """This model's server: counts towards opening its breaker."""
    PROVIDER = "provider"
    """The account's: key, credit or quota; nothing else of this provider will work either."""
    RETIRED = "retired"
    """The model is gone."""


@dataclass(frozen=True)
class Keep:
    """The wish that an answer serve whoever of the same owner asks the very same within `ttl_s` seconds."""

    owner: str
    ttl_s: float


@dataclass(frozen=True)
class ModelCall:
    """One question to a model by its logical name.

    Args:
        model: logical name or alias.
        prompt: the user's side; empty where the history ends with what is to be answered, such as a tool's result.
        system: instructions that come first, the same from call to call: vendors that keep a cache keep them there.
            Several parts are several places up to which a cache may reach, the most lasting first.
        history: earlier messages as in `ChatRequest.messages`, oldest first.
        images: data URIs that go with the prompt.
        tools: what the model may ask to be done, as in `ChatRequest.tools`.
        config: `temperature` 0..2, `max_tokens` 1.., `top_p` 0..1, `response_schema`; other keys are not the gateway's.
        fallback: logical names to go to in place of the registry's; None leaves those.
        timeout_s: most seconds for one request to a vendor.
        keep: the answer may be a kept one, and is kept; None asks anew.
        live_after_s: it may wait so many seconds for a vendor's batch, at a lower price, before it is asked live; None
            asks at once.
    """

    model: str
    prompt: str
    system: tuple[str, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    images: tuple[str, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    fallback: tuple[str, ...] | None = None
    timeout_s: float = 300.0
    keep: Keep | None = None
    live_after_s: float | None = None


@dataclass(frozen=True)
class Usage:
    """Tokens of one answer by kind. The four kinds of input do not overlap.

    Args:
        input_tokens: read anew.
        output_tokens: written, reasoning included.
        cache_read_tokens: read from the vendor's cache.
        cache_write_5m_tokens: written to its cache for five minutes.
        cache_write_1h_tokens: written to its cache for an hour.
        reasoning_tokens: the part of the output that was not shown.
        vendor_cost_usd: what the vendor says it charged; None when it does not say.
        estimated: the vendor counted nothing, these are our guesses.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    vendor_cost_usd: Decimal | None = None
    estimated: bool = False

    @property
    def prompt_tokens(self) -> int:
        """All input, cached or not."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_5m_tokens + self.cache_write_1h_tokens

    @property
    def total_tokens(self) -> int:
        """Input and output."""
        return self.prompt_tokens + self.output_tokens

    def to_json(self) -> dict[str, Any]:
        """Write it for a jsonb column; dollars as text."""
        cost = self.vendor_cost_usd
        return {**vars(self), "vendor_cost_usd": None if cost is None else str(cost)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Usage:
        """Read what `to_json` wrote."""
        cost = raw.get("vendor_cost_usd")
        return cls(**{**_known(cls, raw), "vendor_cost_usd": None if cost is None else Decimal(cost)})


@dataclass(frozen=True)
class ChatRequest:
    """One request to one vendor, free of its wire's spelling.

    Args:
        provider: name in the registry.
        model: the vendor's id.
        logical: the logical name it stands for.
        messages: `{"role", "content"}` in order; role is system, user, assistant or tool, content is text or a list of
            parts `{"type": "text", "text"}`, `{"type": "image", "url"}` with a data URI. A text part with
            `"cache": "5m" | "1h"` ends a prefix that the vendor should keep so long. An assistant's message may carry
            `"tool_calls"` as in `ChatAnswer`; a tool's has `"tool_call_id"` and its result as content.
        max_tokens: most tokens of output.
        temperature: None leaves the vendor's default.
        top_p: None leaves the vendor's default.
        response_schema: JSON schema the answer must fit; None for free text.
        tools: `{"name", "description", "input_schema"}`, what the model may ask for.
        extra: wire parameters from the registry, sent as they are.
        max_tokens_field: what this model calls its limit of output.
        timeout_s: most seconds to wait.
    """

    provider: str
    model: str
    logical: str
    messages: tuple[Mapping[str, Any], ...]
    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    response_schema: Mapping[str, Any] | None = None
    tools: tuple[Mapping[str, Any], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    max_tokens_field: str = "max_tokens"
    timeout_s: float = 300.0

    def to_json(self) -> dict[str, Any]:
        """Write it for the ledger."""
        # Not `asdict`: it copies every message of a long conversation.
        return {**vars(self), "messages": list(self.messages), "tools": list(self.tools)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> ChatRequest:
        """Read what the ledger kept."""
        lists = {"messages": tuple(raw["messages"]), "tools": tuple(raw.get("tools", ()))}
        return cls(**{**_known(cls, raw), **lists})


@dataclass(frozen=True)
class ChatAnswer:
    """What a vendor answered.

    Args:
        text: the answer; empty when it only refused or was cut off.
        finish_reason: `stop`, `length`, `content_filter`, `tool_calls`, or the vendor's own word.
        model: the id the vendor says it used.
        vendor_id: the answer's id at the vendor, for its support.
        usage: what it used up.
        refusal: what the model said in place of an answer; empty when it did not refuse.
        tool_calls: `{"id", "name", "input"}`, what it asks to be done before it goes on.
    """

    text: str
    finish_reason: str
    model: str
    vendor_id: str
    usage: Usage
    refusal: str = ""
    tool_calls: tuple[Mapping[str, Any], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Write it for the ledger."""
        return {**vars(self), "usage": self.usage.to_json(), "tool_calls": list(self.tool_calls)}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> ChatAnswer:
        """Read what the ledger kept."""
        calls = tuple(raw.get("tool_calls", ()))
        return cls(**{**_known(cls, raw), "usage": Usage.from_json(raw["usage"]), "tool_calls": calls})


@dataclass(frozen=True)
class EmbeddingCall:
    """Texts to be placed in the space of a model by its logical name.

    Args:
        texts: 1 to 256, none of them empty.
        model: logical name or alias. Vectors of two models cannot be compared, so it has no stand-in by default.
        dimensions: a shorter vector where the model offers one; None for its own length.
        timeout_s: most seconds for one request to a vendor.
    """

    texts: tuple[str, ...]
    model: str = "embedding_ai"
    dimensions: int | None = None
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Embeddings:
    """What a step gets for its texts.

    Args:
        vectors: one a text, in the order of the texts, all of one length.
        model: logical name that answered.
        provider: who served it.
        vendor_model: the vendor's id of the model; store it beside the vectors.
        usage: tokens.
        cost_usd: dollars, to a millionth.
    """

    vectors: tuple[tuple[float, ...], ...]
    model: str
    provider: str
    vendor_model: str
    usage: Usage
    cost_usd: Decimal


@dataclass(frozen=True)
class EmbeddingRequest:
    """Texts to be placed in a vendor's space.

    Args:
        provider: name in the registry.
        model: the vendor's id.
        texts: 1 to 2048, none of them empty.
        dimensions: a shorter vector where the model offers one; None for its own length.
        timeout_s: most seconds to wait.
    """

    provider: str
    model: str
    texts: tuple[str, ...]
    dimensions: int | None = None
    timeout_s: float = 60.0


@dataclass(frozen=True)
class EmbeddingAnswer:
    """One vector a text, in the order of the texts, all of one length."""

    vectors: tuple[tuple[float, ...], ...]
    model: str
    usage: Usage


@dataclass(frozen=True)
class BatchItem:
    """One question of a provider's batch; `name` (letters, digits, `-`, `_`, at most 64) comes back with its answer."""

    name: str
    request: ChatRequest


@dataclass(frozen=True)
class BatchState:
    """How a provider's batch stands; `ended` says that there will be no further answers."""

    batch_id: str
    ended: bool
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchResult:
    """What came of one item: an answer, or the error that would have been raised had it been asked live."""

    name: str
    answer: ChatAnswer | None = None
    error: Exception | None = None


@dataclass(frozen=True)
class ModelAnswer:
    """What a step gets.

    Args:
        text: the answer.
        data: the parsed answer when a `response_schema` was given, else None.
        model: logical name that answered; another than asked for after a fallback.
        provider: who served it.
        vendor_model: the vendor's id of the model.
        usage: of all requests this took, unusable answers included.
        cost_usd: the same, to a millionth.
        finish_reason: why the answer ended.
        requests: how many answers it took; above 1 after repair.
        structured: a `response_schema` was given.
        tool_calls: what the model asks to be done, as in `ChatAnswer`.
        cached: it was kept from the same question before; nothing was asked and nothing paid.
    """

    text: str
    data: Any
    model: str
    provider: str
    vendor_model: str
    usage: Usage
    cost_usd: Decimal
    finish_reason: str
    requests: int = 1
    structured: bool = False
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    cached: bool = False

    @property
    def output(self) -> Any:
        """What the step's variable becomes: the data of a structured answer, else the text."""
        return self.data if self.structured else self.text


def _known(cls: type[Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what another version of this module may have written besides."""
    names = {item.name for item in fields(cls)}
    return {name: value for name, value in raw.items() if name in names}


def add_usage(a: Usage, b: Usage) -> Usage:
    """Add two usages; the vendor's cost is known only when both are."""
    known = a.vendor_cost_usd is not None and b.vendor_cost_usd is not None
    return Usage(
        input_tokens=a.input_tokens + b.input_tokens,
        output_tokens=a.output_tokens + b.output_tokens,
        cache_read_tokens=a.cache_read_tokens + b.cache_read_tokens,
        cache_write_5m_tokens=a.cache_write_5m_tokens + b.cache_write_5m_tokens,
        cache_write_1h_tokens=a.cache_write_1h_tokens + b.cache_write_1h_tokens,
        reasoning_tokens=a.reasoning_tokens + b.reasoning_tokens,
        vendor_cost_usd=(a.vendor_cost_usd or Decimal(0)) + (b.vendor_cost_usd or Decimal(0)) if known else None,
        estimated=a.estimated or b.estimated,
    )
