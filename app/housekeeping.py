"""What is done every hour: everything that grows is cut back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.runs.retention import delete_old_runs

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.engine import Engine

    from app.idempotency.service import IdempotencyService

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Housekeeping:
    """Cut back what is old.

    Args:
        engine: the process's pool.
        idempotency: forgets expired keys.
        tidy_studio: drops the studio's marks and claims that are past any use, and gives their number.
        retention_days: days an ended run is kept.
        tidy_chat: deletes sessions past their time, and gives their number.
    """

    engine: Engine
    idempotency: IdempotencyService
    tidy_studio: Callable[[], int]
    retention_days: float
    tidy_chat: Callable[[], int] = int

    def keep_house(self) -> dict[str, int]:
        """Delete what may go.

        Returns:
            How many of each kind went.
        """
        # Keys first: a run whose key has just expired may go in the same round.
        counts = {
            "keys": self.idempotency.purge_expired(),
            "runs": delete_old_runs(self.engine, age_days=self.retention_days),
            "marks": self.tidy_studio(),
            "sessions": self.tidy_chat(),
        }
        logger.info("housekeeping: %s", counts)
        return counts
