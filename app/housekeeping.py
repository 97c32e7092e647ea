"""What is done every hour: everything that grows is cut back."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Housekeeping:
    """Cut back what is old.

    Args:
        sweeps: by what they sweep, in the order in which they are to be done; each deletes what may go and gives the
            number of what went.
    """

    sweeps: Mapping[str, Callable[[], int]]

    def keep_house(self) -> dict[str, int]:
        """Delete what may go.

        Returns:
            How many of each kind went.
        """
        counts = {name: sweep() for name, sweep in self.sweeps.items()}
        logger.info("housekeeping: %s", counts)
        return counts
