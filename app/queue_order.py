"""Drain high : medium : low as 6 : 3 : 1 while all are full, and whatever is there otherwise.

kombu asks before each read in which order the queues shall be looked at, and tells which one gave. Stride scheduling:
each queue has a virtual time that a message moves on by one over its weight; the queue that is furthest behind comes
first. A queue that was empty when it was asked is moved up to now, so that it banks no credit.

Source: C. A. Waldspurger and W. E. Weihl, Stride Scheduling, MIT 1995; kombu 5.7 `kombu/utils/scheduling.py` for the
protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kombu.utils.scheduling import round_robin_cycle

if TYPE_CHECKING:
    from collections.abc import Iterable

    Cycle = round_robin_cycle[str]
else:
    Cycle = round_robin_cycle  # it takes a type only in its stubs

WEIGHTS = {"high": 6.0, "medium": 3.0, "low": 1.0}
OTHER = 6.0  # control and learning messages are rare and short; they must not wait behind a backlog


def weight_of(queue: str) -> float:
    """Weigh a queue by the priority in its name."""
    return WEIGHTS.get(queue.rpartition(".")[2], OTHER)


class WeightedOrder(Cycle):
    """Order queues by weight. kombu makes one a channel, without arguments, in producers too."""

    def __init__(self, it: Iterable[str] | None = None) -> None:
        super().__init__(it)
        self._time: dict[str, float] = {}
        self._now = 0.0
        self._order: list[str] = []

    def update(self, it: Iterable[str]) -> None:
        """Take the list of queues; known ones keep their time."""
        super().update(it)
        for queue in self.items or ():
            self._time.setdefault(queue, self._now)

    def consume(self, n: int) -> list[str]:  # type: ignore[override]  # kombu takes any iterable
        """Give the queues in the order in which they shall be read."""
        self._order = sorted(self.items or (), key=lambda queue: (self._time[queue], -weight_of(queue), queue))[:n]
        return self._order

    def rotate(self, last_used: str) -> str:  # type: ignore[override]  # kombu's own returns it, too
        """Note that a queue gave a message."""
        if last_used not in self._time:
            return last_used
        start = self._time[last_used]
        for queue in self._order:
            if queue == last_used:
                break
            self._time[queue] = max(self._time[queue], start)
        self._now = start
        self._time[last_used] = start + 1.0 / weight_of(last_used)
        return last_used
