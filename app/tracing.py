"""One trace from the HTTP request through the queue to the vendor.

Spans cost next to nothing while nobody collects them. With an address in OTEL_EXPORTER_OTLP_ENDPOINT they are sent
there by OpenTelemetry's own exporter, which reads its other variables (headers, timeouts) itself. Where a trace goes on
in another process, the run carries its W3C `traceparent`: a message may be lost and sent again, the run stays.

Attributes are written as literals: the GenAI conventions live in a repository of their own and their constants move.
Source: opentelemetry.io/docs/specs/semconv/gen-ai, November 2026.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from opentelemetry.sdk.trace import SpanProcessor

logger = logging.getLogger(__name__)

TRACER = "batuta"
HEADER = "traceparent"
_PROPAGATOR = TraceContextTextMapPropagator()


def set_up_tracing(endpoint: str, service: str, processor: SpanProcessor | None = None) -> None:
    """Send spans from now on; a process does so once, and does nothing without an address.

    Args:
        endpoint: address of a collector that takes OTLP over HTTP; empty for none.
        service: what this process is called in traces, such as `batuta-web`.
        processor: takes the spans in place of the exporter.
    """
    if not endpoint and processor is None:
        return
    # The exporter brings protobuf along; who collects nothing does not load it.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(processor or BatchSpanProcessor(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces")))
    trace.set_tracer_provider(provider)


@contextlib.contextmanager
def span(
    name: str,
    attributes: Mapping[str, Any] | None = None,
    *,
    kind: SpanKind = SpanKind.INTERNAL,
    parent: str | None = None,
) -> Iterator[Span]:
    """Record what happens within; an error that leaves it marks the span with its class and code.

    Args:
        name: low in cardinality: no ids.
        attributes: as the conventions name them; those that are None are left out.
        kind: server for a request, client for a call, internal else.
        parent: a `traceparent` from elsewhere; None goes on under the span that is current here.
    """
    context = _PROPAGATOR.extract({HEADER: parent}) if parent else None
    known = {key: value for key, value in (attributes or {}).items() if value is not None}
    with trace.get_tracer(TRACER).start_as_current_span(
        name, context=context, kind=kind, attributes=known, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield current
        except Exception as error:
            mark_failed(current, error)
            raise


def mark_failed(current: Span, error: BaseException) -> None:
    """Say on a span that it failed: the error's code and class, never its text, which may quote what was asked."""
    current.set_attribute("error.type", str(getattr(error, "code", "") or type(error).__name__))
    current.set_status(Status(StatusCode.ERROR))


def current_traceparent() -> str:
    """Give the current span's address for another process; empty where nothing is recorded."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get(HEADER, "")
