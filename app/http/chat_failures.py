"""Which error a chat is answered with that came to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.chat.model import FIRST_STEP
from app.errors import BatutaError, ConflictError, FatalError, NotConfiguredError, PersistentError
from app.runs.model import RunStatus

if TYPE_CHECKING:
    from app.runs.model import RunView

RETRY_AFTER_S = 300.0
OURS = frozenset({"internal", "unstorable"})
"""Faults of ours: a 500 that says nothing of its cause. All else is a provider's, a 502."""


def failure_of(view: RunView) -> BatutaError:
    """Make the error for a chat without an answer."""
    step = next((step for step in view.steps if step.key == FIRST_STEP), None)
    if view.status is RunStatus.CANCELLED or step is None or step.status == "cancelled":
        return ConflictError("The chat was cancelled before it was answered.", code="chat_cancelled")
    error = step.error or {}
    code, message = str(error.get("code") or "failed"), str(error.get("message") or "The model failed.")
    if code == "chat_gone":
        return ConflictError("The session was deleted before the chat was answered.", code=code)
    if code == "not_configured":
        return NotConfiguredError(message, retry_after_s=RETRY_AFTER_S)
    return FatalError(message, code=code) if code in OURS else PersistentError(message, code=code)
