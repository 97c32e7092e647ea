"""Requests as the web process counts them; they are its own and begin anew with it."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Counter as PromCounter

MINUTE_S = 60.0
BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 90.0, 280.0)


class Traffic:
    """Counts requests by route and status, and how long they took."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.began = time.monotonic()
        self._lock = threading.Lock()
        self._recent: deque[float] = deque()
        self._by_status: Counter[int] = Counter()
        self._requests = PromCounter(
            "batuta_http_requests_total",
            "Requests by route and status.",
            ["method", "route", "status"],
            registry=self.registry,
        )
        self._durations = Histogram(
            "batuta_http_request_duration_seconds",
            "Seconds from a request's head to its answer.",
            ["method", "route"],
            buckets=BUCKETS_S,
            registry=self.registry,
        )

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request.

        Args:
            method: GET, POST, …
            route: the rule it matched, never its path: ids must not become labels; empty for none.
            status: of the answer.
            seconds: it took.
        """
        self._requests.labels(method, route, str(status)).inc()
        self._durations.labels(method, route).observe(seconds)
        now = time.monotonic()
        with self._lock:
            self._recent.append(now)
            self._by_status[status] += 1
            self._forget(now)

    def per_minute(self) -> int:
        """Count the requests of the last minute."""
        with self._lock:
            self._forget(time.monotonic())
            return len(self._recent)

    def by_status(self) -> dict[str, int]:
        """Count requests by status since the process began."""
        with self._lock:
            return {str(status): times for status, times in sorted(self._by_status.items())}

    @property
    def uptime_s(self) -> float:
        """Seconds since the process began to count."""
        return time.monotonic() - self.began

    def _forget(self, now: float) -> None:
        while self._recent and now - self._recent[0] > MINUTE_S:
            self._recent.popleft()
