"""Which of the studio's parts models make here, and what a question of theirs is likely to take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.studio import model_generator, model_strategist
from app.studio.crafts import GENERATOR, STRATEGIST
from app.studio.model import SLICE_SIZE
from app.studio.quoting import MOST_LISTED, describe_vocabulary

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.gateway.registry import Target
    from app.settings import StudioSettings
    from app.workflows.model import Task

STRUCTURE_CHARS = 450  # of a line of the catalogue, about
ENTRY_CHARS = 600  # of a place of a slice's question, about
MESSAGE_CHARS = 6_000  # of scores and recent ideas, at most about


PRICED = frozenset({"strategist", "generator"})


@dataclass(frozen=True)
class ModelWays:
    """What models make.

    Args:
        ideas: the ideas.
        prompts: the prompts.
        caches: the prompts' vendor keeps what is marked, so that a first question makes the next ones cheaper.
    """

    ideas: bool = False
    prompts: bool = False
    caches: bool = False

    @property
    def asks(self) -> bool:
        """Whether any part does."""
        return self.ideas or self.prompts


NO_MODELS = ModelWays()


def find_ways(settings: StudioSettings, target_of: Callable[[str], Target | None]) -> ModelWays:
    """Choose the model's way where no service is set and somebody serves the model.

    Args:
        settings: addresses of services, and whether models may be used at all.
        target_of: who is asked first for a logical model; None where nobody is configured.
    """
    if not settings.models:
        return NO_MODELS
    writer = None if settings.generator_url else target_of(model_generator.MODEL)
    ideas = not settings.strategist_url and target_of(model_strategist.MODEL) is not None
    return ModelWays(ideas, writer is not None, writer is not None and writer.offer.cache_marks)


@dataclass(frozen=True)
class Foreseen:
    """A question to come: the model, the characters of its prompt, and the most tokens of its answer."""

    model: str
    prompt_chars: int
    most_tokens: int


def foresee(task: Task, ways: ModelWays, structures: int) -> Foreseen | None:
    """Say what a step of a batch will ask; None where it asks nothing.

    Args:
        task: of a batch's document; one with foreseen numbers where there are such.
        ways: what models make.
        structures: how many there are.
    """
    if task.target == "strategist" and ways.ideas:
        count = task.input.get("count") if isinstance(task.input, dict) else None
        if count == 0:
            return None
        listed = min(structures, MOST_LISTED) * STRUCTURE_CHARS
        chars = len(STRATEGIST) + len(describe_vocabulary()) + listed + MESSAGE_CHARS
        tokens = model_strategist.most_tokens(count if isinstance(count, int) else 5)
        return Foreseen(model_strategist.MODEL, chars, tokens)
    if task.target == "generator" and ways.prompts:
        each = max((item["count"] for item in _slices(task)), default=SLICE_SIZE)
        return Foreseen(model_generator.MODEL, len(GENERATOR) + each * ENTRY_CHARS, model_generator.most_tokens(each))
    return None


def _slices(task: Task) -> list[dict[str, int]]:
    return task.for_each if isinstance(task.for_each, list) else []
