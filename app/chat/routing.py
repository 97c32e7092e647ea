"""Where a message goes, in the order of `API.md` §5. Pure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from app.chat.model import FAST, IMAGES, LONG_CONTEXT, MEDIUM, THINKING, Asked, Category, CategorySource, Chosen
from app.errors import TooLargeError

if TYPE_CHECKING:
    from app.chat.model import Judgement

MOST_TOKENS = 900_000
LONG_TOKENS = 200_000
THINKING_TOKENS = 100_000
TRUSTED_CONFIDENCE = 0.9
"""From here on the local scorer's word stands without asking the categoriser."""

LADDER = (FAST, MEDIUM, THINKING)
"""From the cheapest to the strongest: the only way a request may be moved is down."""

TRIED = "one of the share that tries a cheaper model"

_SPEAKS_OF_IMAGE = re.compile(r"\bim(?:age|g):", re.IGNORECASE)
_MODELS = {Category.L: THINKING, Category.M: MEDIUM, Category.H: THINKING}


def route_by_shape(asked: Asked) -> Chosen | None:
    """Route what its size or its images decide.

    Returns:
        None when a category must be found.

    Raises:
        TooLargeError: over `MOST_TOKENS`.
    """
    tokens = asked.tokens
    if tokens > MOST_TOKENS:
        raise TooLargeError(f"The context of {tokens} tokens is over {MOST_TOKENS}.", code="context_too_large")
    if asked.images:
        return Chosen(Category.L, IMAGES, "an image came with it")
    if _SPEAKS_OF_IMAGE.search(asked.message):
        return Chosen(Category.L, IMAGES, "the text names an image")
    if tokens > LONG_TOKENS:
        return Chosen(Category.L, LONG_CONTEXT, f"over {LONG_TOKENS} tokens")
    if tokens > THINKING_TOKENS:
        return Chosen(Category.L, THINKING, f"over {THINKING_TOKENS} tokens")
    return None


def trusts_local(source: CategorySource, local: Judgement, *, model_available: bool) -> bool:
    """Say whether the local judgement stands without asking the categoriser."""
    if source is CategorySource.MODEL:
        return False
    if source is CategorySource.LOCAL or not model_available:
        return True
    return local.confidence is not None and local.confidence >= TRUSTED_CONFIDENCE


def read_category(said: str) -> Category | None:
    """Read the categoriser's answer; None when it is none of the letters."""
    letter = said.strip().strip("\"'`*.:").upper()
    return Category(letter) if letter in Category.__members__ else None


def route_by_category(category: Category, why: str, sorted_by: CategorySource | None = None) -> Chosen:
    """Route to the documented model."""
    return Chosen(category, _MODELS[category], f"category {category}: {why}", sorted_by=sorted_by)


def hold_out(chosen: Chosen, model: str | None = None) -> Chosen:
    """Send a single-model request to the strong model all the same, and say so.

    Args:
        chosen: its route by its category.
        model: where it would have gone; None means there. Kept, so that like is compared with like.
    """
    if chosen.category is Category.H:
        return chosen
    reason = f"{chosen.reason}; one of the share that always goes to {THINKING}"
    return replace(chosen, model=THINKING, holdout=True, reason=reason, held_from=model or chosen.model)


def try_lower(chosen: Chosen, draw: float, share: float) -> Chosen:
    """Send a share of single-model requests one step down, so that there is something to judge there.

    Args:
        chosen: its route by its category.
        draw: from 0 to 1, of this request.
        share: of the requests.
    """
    if draw >= share or chosen.category is Category.H or chosen.model not in LADDER[1:]:
        return chosen
    return move_down(chosen, LADDER[LADDER.index(chosen.model) - 1], TRIED)


def move_down(chosen: Chosen, model: str, evidence: str) -> Chosen:
    """Move a single-model request down the ladder; what would not be down, or is no single model, stays."""
    if chosen.category is Category.H or chosen.model not in LADDER or model not in LADDER:
        return chosen
    if LADDER.index(model) >= LADDER.index(chosen.model):
        return chosen
    reason = f"{chosen.reason}; moved down to {model}: {evidence}"
    return replace(chosen, model=model, moved_from=chosen.model, reason=reason)
