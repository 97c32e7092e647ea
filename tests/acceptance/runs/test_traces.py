"""One trace from the request through the queue to the vendor, as a collector receives it from real processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from app.http import create_app
from simulator import Simulator
from tests.engine.trial import Trial
from tests.simulator_fixtures import simulator, simulator_process

__all__ = ["simulator", "simulator_process"]

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE_ID}-b7ad6b7169203331-01"
PATIENCE_S = 20
PROMPT = "A question that belongs in no trace."


class Collector:
    """Keeps every span that is sent to it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.spans: list[Any] = []

    def take(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        self.spans += [span for part in request.resource_spans for scope in part.scope_spans for span in scope.spans]

    def find(self, name: str) -> Any:
        """Wait for a span."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            found = [span for span in self.spans if span.name == name]
            if found:
                return found[0]
            time.sleep(0.1)
        raise AssertionError(f"no span {name!r} among {[span.name for span in self.spans]}")


@contextmanager
def collecting() -> Iterator[Collector]:
    """Serve a collector."""

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            kept.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    kept = Collector(server.server_port)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def traced(trial: Trial, simulator: Simulator, collector: Collector) -> Trial:
    trial.workers.add(
        OPENAI_BASE_URL=simulator.openai_url,
        OPENAI_API_KEY="sk-of-the-simulator",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_BSP_SCHEDULE_DELAY="200",
        LOG_FORMAT="json",
    )
    trial.workers.start()
    return trial


def attributes(span: Any) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in span.attributes}


def test_a_vendors_call_stands_in_the_trace_of_the_request_that_asked_for_it(
    traced: Trial, collector: Collector
) -> None:
    web = create_app(traced.application).test_client()
    task = {"id": "m", "agent": "asks", "input": {"prompt": PROMPT}}
    answer = web.post(
        "/workflow",
        json={"workflow": [{"tasks": [task]}]},
        headers={"traceparent": CALLER, "X-Request-Id": "a-request-of-n8n", "Prefer": "wait=30"},
    )
    assert answer.get_json()["status"] == "completed"
    step, call = collector.find("invoke_agent asks"), collector.find("chat gpt-6-luna")
    assert step.trace_id.hex() == call.trace_id.hex() == TRACE_ID
    assert call.parent_span_id == step.span_id
    facts = attributes(call)
    assert facts["gen_ai.provider.name"] == "openai"
    assert facts["gen_ai.request.model"] == "gpt-6-luna"
    assert facts["gen_ai.usage.input_tokens"] > 0
    assert attributes(step)["batuta.run.id"] == answer.get_json()["task_id"]
    assert PROMPT not in str(collector.spans)


def test_a_failed_call_says_its_code_and_not_what_the_vendor_wrote(
    traced: Trial, collector: Collector, simulator: Simulator
) -> None:
    simulator.fault("/openai/v1/chat", status=401, body={"error": {"message": "a secret of the vendor's"}}, times=9)
    web = create_app(traced.application).test_client()
    task = {"id": "m", "agent": "asks", "input": {"prompt": PROMPT}}
    answer = web.post("/workflow", json={"workflow": [{"tasks": [task]}]}, headers={"Prefer": "wait=30"})
    assert answer.get_json()["status"] == "failed"
    call = collector.find("chat gpt-6-luna")
    assert call.status.code == call.status.STATUS_CODE_ERROR
    assert attributes(call)["error.type"]
    assert "a secret of the vendor's" not in str(collector.spans)


def test_log_lines_of_a_step_name_its_request_run_and_step(traced: Trial) -> None:
    web = create_app(traced.application).test_client()
    task = {"id": "m", "tool": "boom", "input": {}}
    answer = web.post(
        "/workflow",
        json={"workflow": [{"tasks": [task]}]},
        headers={"X-Request-Id": "a-request-of-n8n", "Prefer": "wait=30"},
    )
    run_id = answer.get_json()["task_id"]
    lines = [line for line in traced.workers.all[0].log.splitlines() if f'"run":"{run_id}"' in line]
    assert any('"request":"a-request-of-n8n"' in line and '"step":"m"' in line for line in lines)
