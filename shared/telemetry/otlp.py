"""Export of spans by OTLP over HTTP, configured by OpenTelemetry's own `OTEL_…` variables.

Nothing is registered globally, so that libraries which trace their calls, and the content in them, find no tracer.
"""

import logging
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from shared.contracts import traces
from shared.telemetry.tracing import Span

logger = logging.getLogger(__name__)

_KINDS: Final = {
    "internal": SpanKind.INTERNAL,
    "consumer": SpanKind.CONSUMER,
    "producer": SpanKind.PRODUCER,
    "client": SpanKind.CLIENT,
}
_FAILED: Final = Status(StatusCode.ERROR)
_FLUSH_S: Final = 3.0
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class OtlpTracer:
    """`Tracer` that exports in batches from a thread of its own. Call it from one thread only, that of the
    event loop.
    """

    def __init__(self, service: str, version: str, *, content: bool) -> None:
        ours = Resource.create(
            {"service.namespace": "dossier", "service.name": f"dossier-{service}", "service.version": version}
        )
        self.content = content
        self._ids = _Ids()
        self._provider = TracerProvider(
            resource=ours.merge(OTELResourceDetector().detect()), id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("dossier", version)

    def tell(self, run: str, traceparent: str | None, *spans: Span) -> None:
        """Export spans of a run; see `Tracer.tell`. Errors are logged and the spans are lost."""
        trace = traces.parse_traceparent(traceparent)
        if trace is None or not spans:
            return
        try:
            self._tell_all(run, trace, spans)
        except Exception:
            logger.exception("Spans of %s are lost", run, extra={"event": "traces.lost", "run_id": run})

    def _tell_all(self, run: str, trace: traces.Trace, spans: Sequence[Span]) -> None:
        """Export spans below the run's own span. The run's span is below the request's span, if the request had a
        trace.
        """
        root = traces.run_span_id(trace.trace_id, run)
        is_made = trace.span_id == root
        is_sampled = self._samples(trace) if is_made else trace.is_sampled
        below = _context(trace.trace_id, root, is_sampled)
        above = Context() if is_made else _context(trace.trace_id, trace.span_id, is_sampled)
        for span in spans:
            self._tell(span, trace, above if span.id == root else below)

    def close(self) -> None:
        """Export what is left within 3 s, else log a warning. The exporter's own time limit is longer."""
        flushing = threading.Thread(target=self._provider.shutdown, name="flush-traces", daemon=True)
        flushing.start()
        flushing.join(_FLUSH_S)
        if flushing.is_alive():
            logger.warning(
                "Not all spans could be exported within %g s.", _FLUSH_S, extra={"event": "traces.unflushed"}
            )

    def _tell(self, span: Span, trace: traces.Trace, context: Context) -> None:
        """Export a span and then its children, so that a loss never leaves children without their parent's record."""
        self._ids.take(trace.trace_id, span.id)
        told = self._tracer.start_span(
            span.name,
            context,
            _KINDS[span.kind],
            {**span.attributes, "error.type": span.error} if span.error else span.attributes,
            start_time=_nanoseconds(span.began),
        )
        if span.error:
            told.set_status(_FAILED)
        told.end(_nanoseconds(span.ended))
        below = set_span_in_context(told, Context())
        for part in span.children:
            self._tell(part, trace, below)

    def _samples(self, trace: traces.Trace) -> bool:
        """Return True if the sampler selects a trace that begins here; it goes by the id, equally in every process."""
        result = self._provider.sampler.should_sample(Context(), int(trace.trace_id, 16), "run")
        return result.decision.is_sampled()


class _Ids(RandomIdGenerator):
    """An id generator that gives the next span preset ids."""

    def __init__(self) -> None:
        self._trace, self._span = "", ""

    def take(self, trace_id: str, span_id: str) -> None:
        """Set the ids of the next span; an empty span id stands for a random one."""
        self._trace, self._span = trace_id, span_id

    def generate_trace_id(self) -> int:
        """Return the preset trace id."""
        return int(self._trace, 16)

    def generate_span_id(self) -> int:
        """Return the preset span id, or a random one."""
        return int(self._span, 16) if self._span else super().generate_span_id()


def _context(trace_id: str, span_id: str, is_sampled: bool) -> Context:
    """Return a context whose current span is a remote one."""
    flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
    place = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(place), Context())


def _nanoseconds(moment: datetime) -> int:
    """Return the nanoseconds from 1970 to `moment`, exactly."""
    since = moment - _EPOCH
    return ((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds) * 1_000
