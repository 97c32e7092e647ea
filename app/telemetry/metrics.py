"""Metrics in Prometheus' words.

What all processes do together is read from ledger, journal and Redis at each scrape, so that the figures outlive
restarts and no worker has a port to be found at. Names: base units, `_total` for counters, no ids in labels.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from app.usage.model import DURATION_BUCKETS_S

if TYPE_CHECKING:
    from prometheus_client import Metric

    from app.usage.model import CallSums, Totals
    from app.usage.service import UsageService

logger = logging.getLogger(__name__)

BOUNDS = [*(str(bound) for bound in DURATION_BUCKETS_S), "+Inf"]
STUDIO_COUNTERS = {
    "batuta_batches_total": ("total_batches", "Batches that made something."),
    "batuta_likes_consumed_total": ("total_likes_processed", "Likes that learning cycles took."),
    "batuta_retrains_total": ("total_retrains", "Learning cycles that trained."),
}


@dataclass(frozen=True)
class Sources:
    """Where figures come from.

    Args:
        usage: the ledger's sums.
        operation_of: what a logical model is asked for, in the words of the GenAI conventions.
        depths: messages by queue.
        circuits: providers and the worst state of their breakers.
        studio: the studio's counters.
        day_cap_usd: the installation's budget of a day; None for none.
    """

    usage: UsageService
    operation_of: Callable[[str], str]
    depths: Callable[[], dict[str, int]]
    circuits: Callable[[], dict[str, str]]
    studio: Callable[[], dict[str, Any]]
    day_cap_usd: Decimal | None


class SystemCollector:
    """Reads everything at each scrape; a source that is away leaves its metrics out and sets `batuta_up` to 0."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        """Read all sources."""
        up = GaugeMetricFamily("batuta_up", "Whether what the metrics are read from answers.", labels=["source"])
        for source, read in (("database", self._from_database), ("broker", self._from_broker)):
            try:
                metrics = list(read())
            except (SQLAlchemyError, RedisError) as error:
                logger.warning("metrics: the %s does not answer (%s)", source, type(error).__name__)
                up.add_metric([source], 0)
                continue
            up.add_metric([source], 1)
            yield from metrics
        yield up

    def _from_database(self) -> Iterator[Metric]:
        sources = self._sources
        yield from self._calls(sources.usage.totals())
        yield _gauge("llm_requests_in_flight", "Calls sent and not answered.", ["provider", "model"],
                     sources.usage.in_flight())  # fmt: skip
        yield _gauge("batuta_runs", "Runs that are kept.", ["status"], sources.usage.runs_by_status())
        yield _gauge("batuta_processes", "Processes whose lease holds.", ["role"], sources.usage.workers_by_role())
        if sources.day_cap_usd is not None:
            left = float(sources.day_cap_usd - sources.usage.committed_today_usd())
            yield _gauge("llm_budget_remaining_usd", "Dollars left of a budget.", ["budget"], {"day": max(0.0, left)})
        status = sources.studio()
        for name, (field, said) in STUDIO_COUNTERS.items():
            counter = CounterMetricFamily(name, said)
            counter.add_metric([], status[field])
            yield counter
        yield _gauge("batuta_likes_waiting", "Likes that no cycle took yet.", [], status["likes_since_last_retrain"])

    def _from_broker(self) -> Iterator[Metric]:
        yield _gauge("batuta_queue_depth", "Messages that wait.", ["queue"], self._sources.depths())
        worst = {provider: int(state != "closed") for provider, state in self._sources.circuits().items()}
        yield _gauge("batuta_circuit_open", "1 while a breaker of the provider is open.", ["provider"], worst)

    def _calls(self, totals: Totals) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "llm_requests_total", "Settled calls.", labels=["provider", "model", "operation", "status"]
        )
        tokens = CounterMetricFamily("llm_tokens_total", "Tokens by kind.", labels=["provider", "model", "type"])
        cost = CounterMetricFamily("llm_cost_usd_total", "Dollars.", labels=["provider", "model", "stage"])
        retries = CounterMetricFamily(
            "llm_retries_total", "Calls after the first of their question.", labels=["provider", "model"]
        )
        for (provider, model), sums in _by_model(totals).items():
            operation = self._sources.operation_of(model)
            for status, times in sums.by_status.items():
                requests.add_metric([provider, model, operation, status], times)
            for kind, count in sums.tokens.items():
                tokens.add_metric([provider, model, kind], count)
            retries.add_metric([provider, model], sums.repeated)
        for group, sums in totals.groups.items():
            cost.add_metric([group.provider, group.model, group.stage], float(sums.cost_usd))
        fallbacks = CounterMetricFamily(
            "llm_fallbacks_total", "How often a model stood in for another.", labels=["from", "to"]
        )
        for (before, after), times in totals.fallbacks.items():
            fallbacks.add_metric([before, after], times)
        yield from (requests, tokens, cost, retries, fallbacks, _durations(totals))


def _durations(totals: Totals) -> Metric:
    family = HistogramMetricFamily(
        "llm_request_duration_seconds", "Seconds until a call was answered.", labels=["provider", "model"]
    )
    for (provider, model), sums in _by_model(totals).items():
        reached = 0
        buckets = []
        for bound, times in zip(BOUNDS, sums.durations, strict=True):
            reached += times
            buckets.append((bound, reached))
        family.add_metric([provider, model], buckets, sums.seconds)
    return family


def _by_model(totals: Totals) -> dict[tuple[str, str], CallSums]:
    together: dict[tuple[str, str], CallSums] = {}
    for group, sums in totals.groups.items():
        key = (group.provider, group.model)
        together[key] = together[key] + sums if key in together else sums
    return together


def _gauge(name: str, said: str, labels: list[str], values: Any) -> Metric:
    """Make a gauge of a number, or of numbers by label (a text, or a tuple of them)."""
    family = GaugeMetricFamily(name, said, labels=labels)
    if not labels:
        family.add_metric([], values)
        return family
    for key, value in values.items():
        family.add_metric([key] if isinstance(key, str) else list(key), value)
    return family
