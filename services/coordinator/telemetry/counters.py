"""Observer of facts that this coordinator has written, each once: counts them and exports their spans."""

from typing import Final, get_args

from prometheus_client import Counter, Histogram

from services.coordinator.telemetry.spans import DECIDED, spans
from shared.contracts.facts import (
    DecisionApproved,
    DecisionExpired,
    DecisionRejected,
    DecisionRevised,
    Outcome,
    RunAccepted,
    RunCompleted,
)
from shared.domain.run import Recorded, Run
from shared.runtime import clock
from shared.telemetry.setup import Telemetry

_RUN_S: Final = (1, 5, 15, 60, 300, 900, 3_600, 14_400, 86_400, 604_800)


class FactCounters:
    """Counters and histograms of facts; spans are exported if tracing is on."""

    def __init__(self, telemetry: Telemetry) -> None:
        registry = telemetry.metrics.registry
        self._tracer = telemetry.tracer
        outcomes: tuple[Outcome, ...] = get_args(Outcome)
        self._accepted = Counter("dossier_runs_accepted", "Requests that became a run.", registry=registry)
        completed = Counter("dossier_runs_completed", "Runs that ended.", ["outcome"], registry=registry)
        self._completed = {outcome: completed.labels(outcome) for outcome in outcomes}
        self._decisions = Counter(
            "dossier_decisions", "Decisions, by how they came.", ["decision", "via"], registry=registry
        )
        took = Histogram(
            "dossier_run_duration_seconds", "From request to end.", ["outcome"], buckets=_RUN_S, registry=registry
        )
        self._took = {outcome: took.labels(outcome) for outcome in outcomes}
        self._waited = Histogram(
            "dossier_hold_duration_seconds", "From a hold to its decision.", buckets=_RUN_S, registry=registry
        )

    def __call__(self, run: Run, it: Recorded) -> None:
        """Count the fact and export the spans that end with it; see `Observe`."""
        self._count(run, it)
        if self._tracer:
            self._tracer.tell(run.id, run.traceparent, *spans(run, it, clock.now()))

    def _count(self, run: Run, it: Recorded) -> None:
        """Count an acceptance, a completion or a decision; ignore any other fact."""
        match it.fact:
            case RunAccepted():
                self._accepted.inc()
            case RunCompleted(outcome=outcome):
                self._completed[outcome].inc()
                if run.accepted:
                    self._took[outcome].observe(max(0.0, (it.time - run.accepted.at).total_seconds()))
            case DecisionApproved() | DecisionRejected() | DecisionRevised() | DecisionExpired():
                self._decisions.labels(DECIDED[type(it.fact)], it.fact.via).inc()
                if hold := run.in_round(it.slot.round).hold:
                    self._waited.observe(max(0.0, (it.time - hold.at).total_seconds()))
            case _:
                pass
