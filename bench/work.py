"""The work every contender does: N workflows at once, each one call, then four side by side, then one."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

FIRST = "first"
MIDDLE = ("a", "b", "c", "d")
LAST = "last"
STEPS = (FIRST, *MIDDLE, LAST)
CALLS_IN_A_ROW = 3
WARM_UP_LATENCY_S = 0.02
WARM_UP_WORKFLOWS = 16


@dataclass(frozen=True)
class Work:
    """One round of work and where to do it; what a contender's process is given.

    Attributes:
        workflows: how many start at once.
        latency_s: seconds the endpoint takes to answer.
        port: the endpoint's, on loopback.
        database_url: an empty PostgreSQL database of the contender's own.
        redis_url: an empty Redis.
        workers: how many worker processes a contender with a broker starts.
        copy: which of the contender's main processes this is, from 0.
        copies: how many main processes share the workflows.
        log: file for what further processes complain about.
        prefix: what this round's workflow ids begin with.
    """

    workflows: int
    latency_s: float
    port: int
    database_url: str
    redis_url: str
    workers: int = 2
    copy: int = 0
    copies: int = 1
    log: str = "/dev/null"
    prefix: str = "w"

    @property
    def ids(self) -> list[str]:
        """The ids of all workflows, as the endpoint counts them."""
        return [f"{self.prefix}{number}" for number in range(self.workflows)]

    @property
    def own_ids(self) -> list[str]:
        """The ids of the workflows that this copy is to run."""
        return self.ids[self.copy :: self.copies]

    @property
    def slots(self) -> int:
        """Calls that wait at once when nothing holds the work up."""
        return self.workflows * len(MIDDLE)

    @property
    def steps(self) -> int:
        """Calls in all."""
        return self.workflows * len(STEPS)

    @property
    def ideal_s(self) -> float:
        """Seconds from start to end if only the endpoint took time."""
        return CALLS_IN_A_ROW * self.latency_s

    def warm_up(self) -> Work:
        """Describe a few quick workflows that open pools and finish imports; not counted."""
        return replace(
            self, workflows=WARM_UP_WORKFLOWS * self.copies, latency_s=WARM_UP_LATENCY_S, prefix=f"warm{self.copy}-"
        )

    def to_json(self) -> str:
        """Write this down for another process."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Work:
        """Read what `to_json` wrote."""
        return cls(**json.loads(text))
