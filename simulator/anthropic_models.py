"""What each of Anthropic's models takes, as far as a request can be refused for it. As of November 2026."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

EFFORTS = ("low", "medium", "high", "xhigh", "max")
OFF_EFFORTS = ("low", "medium", "high")
"""At the two highest efforts thinking cannot be turned off."""


@dataclass(frozen=True)
class ModelFacts:
    """One model.

    Args:
        most_output: tokens.
        least_cached: tokens; a shorter prefix is silently not cached.
        thinking: the `thinking.type` it takes.
        default_effort: empty for a model without efforts; such a one thinks only when told to.
        forced_tools: whether `tool_choice` may be `any` or `tool`.
        prefill: whether the conversation may end with the assistant's words.
        system_turns: whether a system message may stand within the conversation.
        bound_thinking: whether thoughts may come back only behind the conversation that they were made in.
        retires_on: the first day it is gone; None while no day is known.
    """

    most_output: int
    least_cached: int
    thinking: frozenset[str]
    default_effort: str = ""
    forced_tools: bool = True
    prefill: bool = False
    system_turns: bool = False
    bound_thinking: bool = False
    retires_on: dt.date | None = None


_BY_BUDGET = frozenset({"enabled", "disabled"})
_EITHER = frozenset({"enabled", "adaptive", "disabled"})
_ADAPTIVE = frozenset({"adaptive", "disabled"})
_ALWAYS = frozenset({"adaptive"})
_END_OF_SONNET_4_5 = dt.date(2026, 11, 30)
_SONNET_4_5 = ModelFacts(64_000, 1024, _BY_BUDGET, prefill=True, retires_on=_END_OF_SONNET_4_5)
_HAIKU_4_5 = ModelFacts(64_000, 4096, _BY_BUDGET, prefill=True)
_OPUS_4_5 = ModelFacts(64_000, 4096, _BY_BUDGET, "high", prefill=True)
_FABLE = ModelFacts(128_000, 512, _ALWAYS, "high", forced_tools=False, system_turns=True, bound_thinking=True)

MODELS: dict[str, ModelFacts] = {
    "claude-sonnet-5-5": ModelFacts(
        128_000,
        512,
        frozenset({"adaptive", "between_tools"}),
        "high",
        forced_tools=False,
        system_turns=True,
        bound_thinking=True,
    ),
    "claude-haiku-5-5": ModelFacts(128_000, 512, _ADAPTIVE, "medium", system_turns=True),
    "claude-opus-5-5": ModelFacts(
        128_000, 512, _ALWAYS, "medium", forced_tools=False, system_turns=True, bound_thinking=True
    ),
    "claude-fable-5-2": _FABLE,
    "claude-fable-5-1": _FABLE,
    "claude-sonnet-5": ModelFacts(128_000, 1024, _ADAPTIVE, "high"),
    "claude-opus-5": ModelFacts(128_000, 512, _ADAPTIVE, "high", system_turns=True),
    "claude-opus-4-8": ModelFacts(128_000, 1024, _ADAPTIVE, "high", system_turns=True),
    "claude-opus-4-7": ModelFacts(128_000, 2048, _ADAPTIVE, "high"),
    "claude-opus-4-6": ModelFacts(128_000, 4096, _EITHER, "high"),
    "claude-sonnet-4-6": ModelFacts(128_000, 1024, _EITHER, "high"),
    "claude-opus-4-5": _OPUS_4_5,
    "claude-opus-4-5-20251101": _OPUS_4_5,
    "claude-haiku-4-5": _HAIKU_4_5,
    "claude-haiku-4-5-20251001": _HAIKU_4_5,
    "claude-sonnet-4-5": _SONNET_4_5,
    "claude-sonnet-4-5-20250929": _SONNET_4_5,
}

TAKE_SAMPLING = frozenset(
    {"claude-sonnet-4-6", "claude-haiku-4-5", "claude-haiku-4-5-20251001", "claude-sonnet-4-5"}
    | {"claude-sonnet-4-5-20250929", "claude-opus-4-5", "claude-opus-4-5-20251101", "claude-opus-4-6"}
)
"""Models that still take a temperature, and only when asked by the wire's version of 2023."""
