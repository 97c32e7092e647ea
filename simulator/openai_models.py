"""What the simulated vendors of OpenAI's wire offer, as far as a request can be refused for it. As of November 2026."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass


@dataclass(frozen=True)
class ModelFacts:
    """One model.

    Args:
        context: most tokens of prompt and answer together.
        dollars: per million tokens of input, output and cached input.
        efforts: what `reasoning_effort` may be; a model with efforts takes `max_completion_tokens`, and no sampling.
        thinks_or_calls: in chats it takes functions only where its effort is said to be `none`.
        dimensions: length of its vectors; 0 for a model that chats.
        retires_on: the first day it is gone; None while no day is known.
        becomes: the model that answers in its place from that day on; empty where nothing does.
    """

    context: int = 128_000
    dollars: tuple[float, float, float] = (1.0, 3.0, 1.0)
    efforts: tuple[str, ...] = ()
    thinks_or_calls: bool = False
    dimensions: int = 0
    retires_on: dt.date | None = None
    becomes: str = ""


_EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh")
_EFFORTS_OF_6 = ("none", "low", "medium", "high", "xhigh", "max")
_OLD_EFFORTS = ("minimal", "low", "medium", "high")
_END_OF_GPT_5 = dt.date(2026, 12, 11)
_END_OF_GPT_4 = dt.date(2027, 1, 14)
_GONE = dt.date(2026, 10, 23)


def _gpt_6(dollars_in: float, dollars_out: float, cached: float) -> ModelFacts:
    return ModelFacts(1_050_000, (dollars_in, dollars_out, cached), _EFFORTS_OF_6, thinks_or_calls=True)


OPENAI: dict[str, ModelFacts] = {
    "gpt-6-astra": _gpt_6(10, 50, 1.0),
    "gpt-6.1-sol": _gpt_6(2, 10, 0.2),
    "gpt-6.1-terra": _gpt_6(0.5, 2.5, 0.05),
    "gpt-6-sol": _gpt_6(2, 10, 0.2),
    "gpt-6-luna": _gpt_6(0.1, 0.5, 0.01),
    "gpt-5.4-mini": ModelFacts(400_000, (0.75, 4.5, 0.075), _EFFORTS),
    "gpt-5": ModelFacts(400_000, (1.25, 10, 0.125), _OLD_EFFORTS, retires_on=_END_OF_GPT_5),
    "gpt-5-mini": ModelFacts(400_000, (0.25, 2, 0.025), _OLD_EFFORTS, retires_on=_END_OF_GPT_5),
    "gpt-5-nano": ModelFacts(400_000, (0.05, 0.4, 0.005), _OLD_EFFORTS, retires_on=_END_OF_GPT_5),
    "o3": ModelFacts(200_000, (2, 8, 0.5), _OLD_EFFORTS[1:], retires_on=_END_OF_GPT_5),
    "gpt-4o": ModelFacts(128_000, (2.5, 10, 1.25), retires_on=_END_OF_GPT_4),
    "gpt-4o-mini": ModelFacts(128_000, (0.15, 0.6, 0.075), retires_on=_END_OF_GPT_4),
    "gpt-4.1": ModelFacts(1_047_576, (2, 8, 0.5), retires_on=_END_OF_GPT_4),
    "gpt-4.1-mini": ModelFacts(1_047_576, (0.4, 1.6, 0.1), retires_on=_END_OF_GPT_4),
    "gpt-4.1-nano": ModelFacts(1_047_576, (0.1, 0.4, 0.025), retires_on=_GONE),
    "o4-mini": ModelFacts(200_000, (1.1, 4.4, 0.275), _OLD_EFFORTS[1:], retires_on=_GONE),
    "text-embedding-3-small": ModelFacts(8192, (0.02, 0, 0.02), dimensions=1536),
    "text-embedding-3-large": ModelFacts(8192, (0.13, 0, 0.13), dimensions=3072),
    "text-embedding-ada-002": ModelFacts(8192, (0.1, 0, 0.1), dimensions=1536),
}

OPENROUTER: dict[str, ModelFacts] = {
    "meta-llama/llama-3.1-8b-instruct": ModelFacts(131_072, (0.02, 0.05, 0.02)),
    "meta-llama/llama-3.3-70b-instruct": ModelFacts(131_072, (0.1, 0.3, 0.1)),
    "openai/gpt-oss-safeguard-20b": ModelFacts(131_072, (0.075, 0.3, 0.037)),
    "moonshotai/kimi-k2-thinking": ModelFacts(262_144, (0.6, 2.5, 0.15)),
    "moonshotai/kimi-k2.6": ModelFacts(262_144, (0.95, 4.0, 0.16)),
    "google/gemini-2.5-pro": ModelFacts(1_048_576, (1.25, 10, 0.31), retires_on=dt.date(2026, 12, 1)),
    "google/gemini-3.8-flash": ModelFacts(1_048_576, (0.75, 3.75, 0.075)),
}

GOOGLE: dict[str, ModelFacts] = {
    "gemini-2.5-pro": ModelFacts(
        1_048_576, (1.25, 10, 0.31), retires_on=dt.date(2026, 12, 1), becomes="gemini-3.8-flash"
    ),
    "gemini-3.8-flash": ModelFacts(1_048_576, (0.75, 3.75, 0.075)),
    "gemini-embedding-001": ModelFacts(2048, (0.15, 0, 0.15), dimensions=3072),
}
