"""Telemetry of a process: metrics always, traces if a collector is set."""

from importlib.metadata import version

from shared.contracts.subjects import Kind
from shared.runtime.settings import Settings
from shared.telemetry.attempts import AttemptObserver, AttemptReport, attempt_span
from shared.telemetry.metrics import AttemptMetrics, Metrics
from shared.telemetry.tracing import Tracer, TraceScope


class Telemetry:
    """Metrics and tracer of one process. `tracer` is `None` if traces are not exported."""

    def __init__(self, service: str, settings: Settings) -> None:
        self.metrics = Metrics(service)
        self.tracer = create_tracer(service, settings)

    def close(self) -> None:
        """Export the remaining spans, within a few seconds."""
        if self.tracer:
            self.tracer.close()


def create_tracer(service: str, settings: Settings) -> Tracer | None:
    """Return the tracer of this process, or `None` if the settings export no traces. Imports OpenTelemetry only if
    needed.
    """
    if not settings.exports_traces:
        return None
    from shared.telemetry.otlp import OtlpTracer

    return OtlpTracer(service, version("dossier"), content=settings.trace_content)


class WorkerObserver(AttemptObserver):
    """Observer that counts attempts and exports them as spans."""

    def __init__(self, telemetry: Telemetry, kind: Kind) -> None:
        self._attempts = AttemptMetrics(telemetry.metrics, kind)
        self._tracer = telemetry.tracer

    def begins(self, run: str, traceparent: str | None) -> TraceScope:
        """Count the attempt; return a scope that collects spans if traces are exported."""
        self._attempts.began()
        if self._tracer is None:
            return TraceScope(run, traceparent)
        return TraceScope(run, traceparent, [], self._tracer.content)

    def ended(self, attempted: AttemptReport) -> None:
        """Count the attempt's result and export its span."""
        self._attempts.ended(attempted)
        if self._tracer:
            self._tracer.tell(attempted.step.run, attempted.traceparent, attempt_span(attempted))
