"""What of a session a model is given: the newest messages within a budget, the older ones as a summary. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.chat.model import guess_tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app.chat.model import Message

MESSAGE_TOKENS = 8
"""Around each message: role and separators."""

KEPT_SHARE = 0.5
"""Of the budget, when older messages are folded: so that folding is done once in many messages, not at each."""

MOST_FOLDED_CHARACTERS = 60_000
"""Of the messages one summary is asked for; what is longer is cut, oldest first."""


@dataclass(frozen=True)
class Recalled:
    """A session's messages, divided.

    Args:
        older: to be folded into the summary, oldest first; empty while all fit.
        newest: to be given as they are, oldest first.
    """

    older: tuple[Message, ...]
    newest: tuple[Message, ...]


def divide(history: Sequence[Message], budget_tokens: int) -> Recalled:
    """Divide messages where they are over the budget: then only the newest half of it stays as it is."""
    if sum(_tokens(message) for message in history) <= budget_tokens:
        return Recalled((), tuple(history))
    kept, used = len(history), 0
    while kept > 0:
        used += _tokens(history[kept - 1])
        if used > budget_tokens * KEPT_SHARE:
            break
        kept -= 1
    while kept < len(history) and history[kept].role == "assistant":
        kept += 1  # not without its question: some servers refuse a conversation that begins with an answer
    return Recalled(tuple(history[:kept]), tuple(history[kept:]))


def as_messages(summary: str, newest: Sequence[Message]) -> tuple[dict[str, Any], ...]:
    """Write what a model is given before the question, as `ModelCall.history` wants it."""
    told = [{"role": "user", "content": f"(What we said before, in short: {summary})"}] if summary else []
    answered = [{"role": "assistant", "content": "(I remember.)"}] if summary else []
    return (*told, *answered, *({"role": message.role, "content": message.content} for message in newest))


def history_tokens(summary: str, newest: Sequence[Message]) -> int:
    """Guess the tokens of what is given."""
    return sum(_tokens(message) for message in newest) + (guess_tokens(summary) + 2 * MESSAGE_TOKENS if summary else 0)


def folding_prompt(summary: str, older: Sequence[Message]) -> str:
    """Ask for a new summary of an older one and the messages after it."""
    lines = [f"{'Person' if message.role == 'user' else 'Assistant'}: {message.content}" for message in older]
    text = "\n\n".join(lines)[-MOST_FOLDED_CHARACTERS:]
    before = f"Summary of what came before:\n{summary}\n\n" if summary else ""
    return f"{before}The conversation to fold in:\n<conversation>\n{text}\n</conversation>"


def _tokens(message: Message) -> int:
    return guess_tokens(message.content) + MESSAGE_TOKENS
