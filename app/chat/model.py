"""The words of a chat: what was asked, which model it goes to and why, what was said."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

KIND = "chat"
WARM_UP_KIND = "chat_warmup"
FIRST_STEP = "chat"
"""The step that answers, or acknowledges; who sent the chat waits for this one."""

THINKING = "thinking_ai"
MEDIUM = "medium_ai"
FAST = "fast_ai"
CATEGORIZER = "categorizer_ai"
IMAGES = "image_analysis_ai"
LONG_CONTEXT = "long_context_ai"
ACKNOWLEDGER = "thinking_fast_response_ai"
REPORTER = "finished_task_ai"
EXPLAINER = "ai_workers_failed_ai"

USER_MESSAGE = "user_message"
"""The variable under which a plan's steps find what the person wrote."""

SESSION_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@+=~-]{0,127}")
"""What a session may be called: it stands in paths and logs."""

BYTES_A_TOKEN = 4


class Category(StrEnum):
    """The users' letters: one hard piece of work, a demanding everyday question, work of several steps."""

    L = "L"
    M = "M"
    H = "H"


class CategorySource(StrEnum):
    """Who says the category: the categoriser model, the local scorer, or whichever of them can be trusted."""

    MODEL = "model"
    LOCAL = "local"
    AUTO = "auto"


@dataclass(frozen=True)
class Asked:
    """One message of a person's.

    Args:
        message: as it was typed; data everywhere, never a template.
        images: data URIs.
        context_tokens: how much the caller says its context holds.
    """

    message: str
    images: tuple[str, ...] = ()
    context_tokens: int = 0

    @property
    def tokens(self) -> int:
        """What it comes to: the caller's word, or the text itself where that is longer."""
        return max(self.context_tokens, guess_tokens(self.message))

    def to_json(self) -> dict[str, Any]:
        """Write it for a jsonb column."""
        return {"message": self.message, "images": list(self.images), "context_tokens": self.context_tokens}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Asked:
        """Read what `to_json` wrote."""
        return cls(raw["message"], tuple(raw.get("images", ())), raw.get("context_tokens", 0))


@dataclass(frozen=True)
class Judgement:
    """What a categoriser says.

    Args:
        category: its answer.
        reason: in a few words, for the receipt.
        confidence: how often such an answer is right, as measured; None when nobody has measured.
    """

    category: Category
    reason: str
    confidence: float | None = None


@dataclass(frozen=True)
class Chosen:
    """Where a message goes.

    Args:
        category: its letter.
        model: logical name; for H, the one that plans.
        reason: for the receipt.
        holdout: it went to the strong model all the same, so that what routing costs in quality is measured.
        moved_from: the documented model, where the route scorer moved the request down.
        sorted_by: who said the category; None where size or images decided, and nobody was asked.
        held_from: the model it would have gone to, had it not been held out.
    """

    category: Category
    model: str
    reason: str
    holdout: bool = False
    moved_from: str | None = None
    sorted_by: CategorySource | None = None
    held_from: str | None = None


@dataclass(frozen=True)
class Turn:
    """A message under way: one run of kind `chat`.

    Args:
        position: its place in the session; its answer takes the same.
        holdout: drawn when it came in, so that a second try does not draw again.
        streams: somebody reads the answer's pieces as they come.
        summary: what older messages of the session came to; empty when there are none.
        history: messages that are not in the summary, oldest first.
    """

    run_id: str
    session_id: str
    owner: str
    position: int
    asked: Asked
    holdout: bool
    streams: bool
    summary: str = ""
    history: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Message:
    """One line of a session."""

    message_id: int
    role: str
    content: str
    created_at: datetime


@dataclass(frozen=True)
class Session:
    """A conversation, with all its messages in order."""

    session_id: str
    created_at: datetime
    messages: tuple[Message, ...]


@dataclass(frozen=True)
class Receipt:
    """What became of one message: where it went, and what that cost against the strong model.

    Args:
        estimated_usd: before it was asked.
        saved_usd: against always asking the strong model at the registry's prices with the same tokens, less what
            finding the category cost; below 0 where the route was dearer.
        cost_usd: of the answer and the category together.
        answered_by: the logical name that answered in the end.
    """

    chosen: Chosen
    answered_by: str
    estimated_usd: Decimal
    saved_usd: Decimal
    cost_usd: Decimal

    def to_json(self) -> dict[str, Any]:
        """Write it as the answer's `route`; dollars as texts until HTTP writes them as numbers."""
        route: dict[str, Any] = {
            "reason": self.chosen.reason,
            "estimated_dollars": str(self.estimated_usd),
            "saved_dollars": str(self.saved_usd),
        }
        if self.chosen.holdout:
            route["holdout"] = True
        if self.chosen.moved_from is not None:
            route["moved_from"] = self.chosen.moved_from
        return route


@dataclass(frozen=True)
class Outcome:
    """A judged chat, for whoever learns from it.

    Args:
        message: None when the session was deleted.
        holdout: it had gone to the strong model whatever the route said.
    """

    run_id: str
    message: str | None
    context_tokens: int
    category: Category
    model: str
    holdout: bool
    good: bool
    cost_usd: Decimal
    judged_at: datetime


def guess_tokens(text: str) -> int:
    """Guess a text's tokens by its bytes: letters beyond Latin's are more tokens, and more bytes."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_A_TOKEN)
