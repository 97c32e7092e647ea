"""Dollars for tokens: the worst a request can cost before it is sent, and what an answer did cost.

Dollars are `Decimal`, to a millionth. An estimate is rounded up, a cost to the nearest even, so that a reservation is
never smaller than what it is settled with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal
from typing import Any

from app.gateway.model import ChatRequest, Usage

MILLIONTH = Decimal("0.000001")
MILLION = Decimal(1_000_000)
MESSAGE_TOKENS = 16
"""Most tokens a wire puts around one message: role, separators, a name."""
REQUEST_TOKENS = 64
"""Most tokens around a whole request, such as the note that JSON is wanted."""
ORDERLY_TOKENS = 1024
"""Most tokens of a vendor's own words on how tools are called, or how JSON by a schema is written; Anthropic's are some
three to seven hundred."""
IMAGE_TOKENS = 8192
"""Most tokens an image becomes at full detail with the vendors of 2026; a higher one would break the bound."""
CHARACTERS_A_TOKEN = 4
"""Rough length of a token in running text, for guesses only."""


@dataclass(frozen=True)
class Rates:
    """Dollars per million tokens, by kind."""

    input: Decimal = Decimal(0)
    output: Decimal = Decimal(0)
    cache_write_5m: Decimal = Decimal(0)
    cache_write_1h: Decimal = Decimal(0)
    cache_read: Decimal = Decimal(0)

    @property
    def dearest_input(self) -> Decimal:
        """What a token of input can cost at most, however it is cached."""
        return max(self.input, self.cache_write_5m, self.cache_write_1h, self.cache_read)


@dataclass(frozen=True)
class Prices:
    """A model's rates; `tiers` hold others for prompts above so many tokens, smallest first.

    `batch_factor` is the part of them that the vendor charges for what its batches answer; `sizes` are other prices of
    an image, or a second, in a size such as `4K` or `1080p`.
    """

    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    per_image: Decimal = Decimal(0)
    per_second: Decimal = Decimal(0)
    batch_factor: Decimal = Decimal("0.5")
    sizes: Mapping[str, Decimal] = field(default_factory=dict)

    def rates_for(self, prompt_tokens: int) -> Rates:
        """Choose the rates for a prompt of so many tokens."""
        chosen = self.rates
        for above, rates in self.tiers:
            if prompt_tokens > above:
                chosen = rates
        return chosen

    def worst_rates(self, most_prompt_tokens: int) -> Rates:
        """Give for each kind the highest rate that a prompt of up to so many tokens can meet."""
        met = [self.rates, *(rates for above, rates in self.tiers if most_prompt_tokens > above)]
        if len(met) == 1:  # by far the most
            return self.rates
        return Rates(*(max(kind) for kind in zip(*(_kinds(rates) for rates in met), strict=True)))


def _kinds(rates: Rates) -> tuple[Decimal, ...]:
    return (rates.input, rates.output, rates.cache_write_5m, rates.cache_write_1h, rates.cache_read)


@dataclass(frozen=True)
class Worst:
    """The most a request can cost, and how many tokens it will hardly pass."""

    cost_usd: Decimal
    likely_tokens: int


def most_prompt_tokens(
    messages: Sequence[Mapping[str, Any]],
    schema: Mapping[str, Any] | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
) -> int:
    """Bound the tokens of a prompt from above.

    A token of the vendors' byte-level vocabularies covers a byte or more, so the bytes are a bound that holds for
    every text; a tokenizer of one's own would be closer and hold for one vendor only.

    Args:
        messages: as in `ChatRequest.messages`.
        schema: travels with the prompt and is charged like it.
        tools: the same.
    """
    total = REQUEST_TOKENS
    if schema is not None:
        total += ORDERLY_TOKENS + len(repr(schema).encode())
    if tools:
        total += ORDERLY_TOKENS
    for tool in tools:
        total += MESSAGE_TOKENS + len(repr(tool).encode())
    for message in messages:
        total += MESSAGE_TOKENS + _content_tokens(message.get("content", ""))
        if message.get("tool_calls"):
            total += len(repr(message["tool_calls"]).encode())
    return total


def _content_tokens(content: Any) -> int:
    if isinstance(content, str):
        return _bytes_of(content)
    return sum(IMAGE_TOKENS if part.get("type") == "image" else _bytes_of(part.get("text", "")) for part in content)


def _bytes_of(text: str) -> int:
    # An ASCII text, the usual one, is measured without a copy of it.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def worst_cost(prices: Prices, request: ChatRequest, *, part: Decimal = Decimal(1)) -> Worst:
    """Say what a request can cost at most: the whole prompt at its dearest kind, the output at its limit.

    Args:
        prices: the table.
        request: as it would be sent.
        part: of the table's prices that is charged.
    """
    prompt = most_prompt_tokens(request.messages, request.response_schema, request.tools)
    rates = prices.worst_rates(prompt)
    dollars = (rates.dearest_input * prompt + rates.output * request.max_tokens) * (part / MILLION)
    likely = -(-prompt // CHARACTERS_A_TOKEN) + request.max_tokens
    return Worst(dollars.quantize(MILLIONTH, rounding=ROUND_CEILING), likely)


def worst_embedding(prices: Prices, texts: Sequence[str]) -> Worst:
    """Say what the embedding of some texts can cost at most."""
    tokens = sum(MESSAGE_TOKENS + _bytes_of(text) for text in texts)
    dollars = prices.worst_rates(tokens).dearest_input * tokens / MILLION
    return Worst(dollars.quantize(MILLIONTH, rounding=ROUND_CEILING), -(-tokens // CHARACTERS_A_TOKEN))


def cost_usd(prices: Prices, usage: Usage, *, part: Decimal = Decimal(1)) -> Decimal:
    """Say what an answer cost: the vendor's own figure if it gave one, else the table's.

    Args:
        prices: the table.
        usage: what the vendor counted.
        part: of the table's prices that is charged, as for what a batch answers.
    """
    if usage.vendor_cost_usd is not None:
        return max(Decimal(0), usage.vendor_cost_usd).quantize(MILLIONTH, rounding=ROUND_HALF_EVEN)
    rates = prices.rates_for(usage.prompt_tokens)
    dollars = (
        rates.input * usage.input_tokens
        + rates.output * usage.output_tokens
        + rates.cache_read * usage.cache_read_tokens
        + rates.cache_write_5m * usage.cache_write_5m_tokens
        + rates.cache_write_1h * usage.cache_write_1h_tokens
    ) * (part / MILLION)
    return dollars.quantize(MILLIONTH, rounding=ROUND_HALF_EVEN)


def guess_tokens(text: str) -> int:
    """Guess the tokens of a text, for vendors that count nothing; at least 1 unless it is empty."""
    return -(-len(text) // CHARACTERS_A_TOKEN)


@dataclass(frozen=True)
class PieceCost:
    """What images or film cost: `dollars` as they were ordered, or by the vendor's tokens where those have a price."""

    dollars: Decimal
    token_rate: Decimal = Decimal(0)

    def worst(self, prompt: str) -> Worst:
        """Say what is set aside for it."""
        return Worst(self.dollars, guess_tokens(prompt))

    def settled(self, usage: Usage) -> Decimal:
        """Say what it did cost."""
        if not self.token_rate or not usage.output_tokens:
            return self.dollars
        return (self.token_rate * usage.output_tokens / MILLION).quantize(MILLIONTH, rounding=ROUND_HALF_EVEN)


def piece_cost(unit_usd: Decimal, prices: Prices, size: str | None, pieces: int = 1) -> PieceCost:
    """Price some images, or seconds of film.

    Args:
        unit_usd: of one, in a size that has no price of its own.
        prices: of the model.
        size: as it is ordered; None for the vendor's own.
        pieces: how many.
    """
    dollars = prices.sizes.get(size or "", unit_usd) * pieces
    return PieceCost(dollars.quantize(MILLIONTH, rounding=ROUND_CEILING), prices.rates.output)
