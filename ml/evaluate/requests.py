"""Requests on which it is known how well a weaker and a stronger model did, and what each answer costs.

Prices are those of the registry's `medium_ai` and `thinking_ai`, first offer. Tokens are estimates where the set does
not tell: CHARACTERS_A_TOKEN for what was written, ANSWER_TOKENS for what a model answers by its kind.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ml.frame import Array, Floats, Frame, as_frame, as_text

REGISTRY = Path(__file__).parents[2] / "orchestration_config.json"
MODELS = ("medium_ai", "thinking_ai")  # whose prices the weaker and the stronger model of a set are given
CHARACTERS_A_TOKEN = 4.0
ANSWER_TOKENS = (150.0, 600.0)  # an everyday answer; one with its reasoning, which is billed as output
MILLION = 1_000_000.0


@dataclass(frozen=True)
class Requests:
    """Judged requests; every array has n rows.

    Args:
        prompts: the texts.
        good: shape (n, 2), how well the weaker and the stronger model did, 0..1.
        group: subject or task, object array of text.
        dollars: shape (n, 2), what either answer costs.
    """

    prompts: tuple[str, ...]
    good: Floats
    group: Array
    dollars: Floats

    def __len__(self) -> int:
        return len(self.prompts)

    def take(self, rows: Array) -> Requests:
        """Copy some requests."""
        places = np.arange(len(self))[rows]
        prompts = tuple(self.prompts[place] for place in places)
        return Requests(prompts, self.good[places], self.group[places], self.dollars[places])


def read_routellm(path: Path, benchmark: str) -> Requests:
    """Read one benchmark of RouteLLM: Mixtral 8x7B as the weaker, GPT-4 as the stronger model."""
    frame = as_frame(path)
    frame = frame.take(frame.columns["benchmark"] == benchmark)
    good = np.column_stack([frame.columns["mixtral_8x7b"], frame.columns["gpt4_1106"]])
    return _requests(frame, good, "group", np.tile(ANSWER_TOKENS, (len(good), 1)))


def read_thinking(path: Path) -> Requests:
    """Read answers of one model without and with thinking; here the answers' lengths are known."""
    frame = as_frame(path)
    good = np.column_stack([frame.columns["direct_correct"], frame.columns["cot_correct"]])
    written = np.column_stack([frame.columns["direct_chars"], frame.columns["cot_chars"]])
    return _requests(frame, good, "task", np.maximum(1.0, written / CHARACTERS_A_TOKEN))


def read_nine(path: Path, weaker: str = "gemma-2-9b-it", stronger: str = "llama-3.1-nemotron-51b-instruct") -> Requests:
    """Read two of nine open models."""
    frame = as_frame(path)
    good = np.column_stack([frame.columns[weaker], frame.columns[stronger]])
    return _requests(frame, good, "task", np.tile(ANSWER_TOKENS, (len(good), 1)))


def prices(registry: Path = REGISTRY) -> Floats:
    """Give dollars a token: shape (2, 2), a row a model of `MODELS`, columns in and out."""
    document = json.loads(registry.read_text(encoding="utf-8"))
    offers = [document["models"][name]["offers"][0] for name in MODELS]
    found = [document["vendor_models"][offer["provider"]][offer["model"]]["prices"] for offer in offers]
    return np.array([[one["in"], one["out"]] for one in found], dtype=np.float64) / MILLION


def _requests(frame: Frame, good: Floats, group: str, answers: Floats) -> Requests:
    prompts = tuple(as_text(frame.columns["prompt"]).tolist())
    asked = np.array([len(prompt) for prompt in prompts]) / CHARACTERS_A_TOKEN
    price = prices()
    dollars = asked[:, None] * price[:, 0] + answers * price[:, 1]
    return Requests(prompts, good.astype(np.float64), as_text(frame.columns[group]), dollars)
