"""Measures of attempts for metrics and traces: times, counts and results, never content."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct

from shared.contracts.evidence import Call
from shared.contracts.facts import INTERRUPTED, AttemptFailed, Fact, calls_of
from shared.contracts.subjects import Step
from shared.runtime import clock
from shared.runtime.job import FAILED_TYPES, Job
from shared.telemetry import genai
from shared.telemetry.tracing import CURRENT_SCOPE, Attribute, Span, TraceScope

AttemptResult = Literal["succeeded", "failed", "retried", "interrupted", "aborted"]
"""The step has an outcome: `succeeded` or `failed`. Another attempt follows: `retried` after a failure, `interrupted`
when the worker was stopped. `aborted`: nothing was recorded, because the run was cancelled, another worker has the
task, or it could not be written."""
RESULTS: Final[tuple[AttemptResult, ...]] = ("succeeded", "failed", "retried", "interrupted", "aborted")


class AttemptReport(Struct, frozen=True, kw_only=True):
    """One finished attempt."""

    step: Step
    attempt: int
    deliveries: int
    """Number of times that its task had been handed out, this one included."""
    issued: datetime
    began: datetime
    ended: datetime
    result: AttemptResult
    code: str = ""
    """The code of the failure; empty without one."""
    calls: Sequence[Call] = ()
    throttled: int = 0
    """Number of times that it was throttled."""
    traceparent: str | None = None
    parts: tuple[Span, ...] = ()

    @property
    def queued_s(self) -> float:
        """Seconds from the task's storage until the attempt began."""
        return max(0.0, (self.began - self.issued).total_seconds())

    @property
    def took_s(self) -> float:
        """Seconds from the attempt's beginning until its result was recorded."""
        return max(0.0, (self.ended - self.began).total_seconds())


class AttemptObserver:
    """Called at the beginning and end of each attempt; this one records nothing. Subclasses must not raise or block."""

    def begins(self, run: str, traceparent: str | None) -> TraceScope:
        """Called when an attempt begins. Returns the scope in which its parts are traced."""
        return TraceScope(run, traceparent)

    def ended(self, attempted: AttemptReport) -> None:
        """Called when an attempt is over."""


class AttemptRecorder:
    """Records one attempt in progress. Create it in the asyncio task that performs the attempt: it sets the trace
    scope.
    """

    def __init__(self, job: Job, observer: AttemptObserver) -> None:
        self._job = job
        self._observer = observer
        self._within = observer.begins(job.step.run, job.traceparent)
        CURRENT_SCOPE.set(self._within)
        self._began = clock.now()
        self._result: AttemptResult = "aborted"
        self._code = ""
        self._calls: Sequence[Call] = ()
        self.throttled = 0

    def recorded(self, fact: Fact) -> None:
        """Derive result, code and calls from the fact that ends the attempt."""
        self._calls = calls_of(fact)
        if isinstance(fact, AttemptFailed):
            self._code = fact.error.code
            self._result = "interrupted" if self._code == INTERRUPTED else "retried"
        elif isinstance(fact, FAILED_TYPES):
            self._result, self._code = "failed", fact.error.code
        else:
            self._result = "succeeded"

    def over(self, paid: Sequence[Call]) -> None:
        """Report the attempt to the observer. `paid` are its calls if no fact was recorded."""
        job = self._job
        attempted = AttemptReport(
            step=job.step,
            attempt=job.attempt,
            deliveries=job.delivery.deliveries,
            issued=job.delivery.message.time,
            began=self._began,
            ended=clock.now(),
            result=self._result,
            code=self._code,
            calls=self._calls or paid,
            throttled=self.throttled,
            traceparent=job.traceparent,
            parts=tuple(self._within.spans or ()),
        )
        self._observer.ended(attempted)


def attempt_span(attempted: AttemptReport) -> Span:
    """Return the attempt as a span, with the spans of its parts as children."""
    step = attempted.step
    return Span(
        name=f"process task.{step.kind}",
        kind="consumer",
        began=attempted.began,
        ended=attempted.ended,
        attributes=messaging_attributes("process", step, attempted.attempt)
        | {
            "messaging.consumer.group.name": step.kind,
            "dossier.deliveries": attempted.deliveries,
            "dossier.queue_time_s": round(attempted.queued_s, 6),
            "dossier.result": attempted.result,
            "dossier.throttled": attempted.throttled,
        },
        error=attempted.code,
        children=attempted.parts,
    )


def messaging_attributes(operation: Literal["send", "process"], step: Step, attempt: int) -> dict[str, Attribute]:
    """Return the messaging attributes of a span of a task."""
    subject = step.task(attempt).subject
    return {
        "messaging.system": "nats",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": subject,
        "messaging.destination.template": f"research.run.{{run}}.task.{step.kind}.{{round}}.{{index}}.{{attempt}}",
        "messaging.message.id": subject,
        "dossier.round": step.round,
        "dossier.index": step.index,
        "dossier.attempt": attempt,
        genai.RUN_ID: step.run,
    }
