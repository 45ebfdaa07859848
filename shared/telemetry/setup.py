"""What a process tells of itself: it measures always, and traces where somebody takes traces."""

from importlib.metadata import version

from shared.contracts.subjects import Kind
from shared.runtime.settings import Settings
from shared.telemetry.attempts import AttemptReport, attempt_span
from shared.telemetry.metrics import AttemptMetrics, Metrics
from shared.telemetry.tracing import Tracer, TraceScope


class Telemetry:
    """The metrics and the tracer of one process."""

    def __init__(self, service: str, settings: Settings) -> None:
        self.metrics = Metrics(service)
        self.tracer = create_tracer(service, settings)

    def close(self) -> None:
        """Export what is left, within a few seconds."""
        if self.tracer:
            self.tracer.close()


def create_tracer(service: str, settings: Settings) -> Tracer | None:
    """The tracer of this process; `None` where OpenTelemetry's variables name nobody to export to."""
    if not settings.exports_traces:
        return None
    from shared.telemetry.otlp import OtlpTracer

    return OtlpTracer(service, version("dossier"), content=settings.trace_content)


class WorkerObserver:
    """Measures attempts, and tells them as spans."""

    def __init__(self, telemetry: Telemetry, kind: Kind) -> None:
        self._attempts = AttemptMetrics(telemetry.metrics, kind)
        self._tracer = telemetry.tracer

    def begins(self, run: str, traceparent: str | None) -> TraceScope:
        """See `Observer`."""
        self._attempts.began()
        if self._tracer is None:
            return TraceScope(run, traceparent)
        return TraceScope(run, traceparent, [], self._tracer.content)

    def ended(self, attempted: AttemptReport) -> None:
        """See `Observer`."""
        self._attempts.ended(attempted)
        if self._tracer:
            self._tracer.tell(attempted.step.run, attempted.traceparent, attempt_span(attempted))
