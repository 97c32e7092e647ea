"""Read the state file of the original orchestrator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from app.errors import InvalidError
from app.studio.model import MAX_ID_CHARS

IMPORTED_MODEL = "imported"
_MOST = 2_147_483_647  # of an integer column


def read_state_file(content: Mapping[str, Any]) -> dict[str, Any]:
    """Give the state row's values; a key that the file's version lacks is 0 or nothing.

    Raises:
        InvalidError: with every value that is of the wrong kind.
    """
    readers: dict[str, Callable[[Any], Any]] = {
        "likes_since_last_retrain": _whole,
        "last_retrain_at": _moment,
        "last_like_at": _moment,
        "total_retrains": _whole,
        "total_likes_processed": _whole,
        "last_batch_at": _moment,
        "total_batches": _whole,
        "last_batch_result": _object,
        "last_generation_at": _moment,
        "total_generations": _whole,
        "last_generation_result": _object,
        "cached_structure_scores": _scores,
        "scores_cached_at": _moment,
    }
    values: dict[str, Any] = {}
    errors: dict[str, list[str]] = {}
    for name, read in readers.items():
        try:
            values[name] = read(content.get(name))
        except ValueError as error:
            errors[name] = [str(error)]
    if errors:
        raise InvalidError("This is not a state file of the original orchestrator.", errors=errors)
    scores = values.pop("cached_structure_scores")
    return {
        **values,
        "likes_at_last_try": 0,
        "cached_scores": scores,
        "scores_model_version": IMPORTED_MODEL if scores else None,
    }


def _whole(value: Any) -> int:
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _MOST:
        raise ValueError("Must be a whole number, 0 or more.")
    return value


def _moment(value: Any) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("Must be a time in ISO 8601.")  # noqa: TRY004 - a value of the caller's, not of ours
    moment = datetime.fromisoformat(value)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _object(value: Any) -> dict[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise ValueError("Must be an object.")
    return value


def _scores(value: Any) -> dict[str, float]:
    scores = value or {}
    if not isinstance(scores, dict):
        raise ValueError("Must map structures to scores.")  # noqa: TRY004 - a value of the caller's, not of ours
    for key, score in scores.items():
        number = isinstance(score, int | float) and not isinstance(score, bool)
        if len(key) > MAX_ID_CHARS or not number or not math.isfinite(score) or not 0 <= score <= 1:
            raise ValueError(f"The score of {key[:50]!r} must be a number from 0 to 1.")
    return {key: float(score) for key, score in scores.items()}
