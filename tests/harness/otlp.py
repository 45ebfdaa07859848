"""A collector of traces: a real OTLP receiver on the loopback that keeps every span it is sent."""

import gzip
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Wire
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from tests.harness.listener import Listener

Value = str | int | float | bool | None


class Got(NamedTuple):
    """One span as it arrived. Ids are in hex, times in nanoseconds since 1970; `parent` is empty for a root."""

    service: str
    name: str
    kind: str
    trace: str
    id: str
    parent: str
    began: int
    ended: int
    failed: bool
    attributes: dict[str, Value]

    @property
    def run(self) -> Value:
        """The run that it is of."""
        return self.attributes.get("gen_ai.conversation.id")


class Collector(Listener):
    """Takes spans on a loopback port."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Got] = []
        self.bodies: list[bytes] = []

    @property
    def settings(self) -> dict[str, str]:
        """The variables that have a process export to here, without much delay."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.port}", "OTEL_BSP_SCHEDULE_DELAY": "50"}

    def of(self, run: str) -> list[Got]:
        """The spans of a run so far."""
        return [span for span in list(self.spans) if span.run == run]

    def serve(self, handler: BaseHTTPRequestHandler) -> None:
        """Keep the spans."""
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        if handler.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        assert handler.path == "/v1/traces"
        self.bodies.append(body)
        self.spans += _read(ExportTraceServiceRequest.FromString(body))
        handler.send_response(200)
        handler.send_header("Content-Length", "0")
        handler.end_headers()


def _read(request: ExportTraceServiceRequest) -> Iterator[Got]:
    for resource in request.resource_spans:
        service = {pair.key: _value(pair.value) for pair in resource.resource.attributes}["service.name"]
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield Got(
                    service=str(service),
                    name=span.name,
                    kind=Wire.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_").lower(),
                    trace=span.trace_id.hex(),
                    id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    began=span.start_time_unix_nano,
                    ended=span.end_time_unix_nano,
                    failed=span.status.code == Status.STATUS_CODE_ERROR,
                    attributes={pair.key: _value(pair.value) for pair in span.attributes},
                )


def _value(value: AnyValue) -> Value:
    kind = value.WhichOneof("value")
    return getattr(value, kind) if kind else None
