"""Spans of a run, each made when it ends from what is recorded: the run, waits for decisions, messages. Pure."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from shared.contracts import traces
from shared.contracts.facts import (
    DecisionApproved,
    DecisionExpired,
    DecisionRejected,
    DecisionRevised,
    RunAccepted,
    RunCompleted,
    TaskIssued,
)
from shared.contracts.subjects import ASKED, COMPLETED, REQUESTED, Slot, Step
from shared.domain.run import Recorded, Run
from shared.telemetry import genai
from shared.telemetry.attempts import messaging_attributes
from shared.telemetry.tracing import Attribute, Span

DECIDED: Final[dict[type, str]] = {
    DecisionApproved: "approved",
    DecisionRejected: "rejected",
    DecisionRevised: "revised",
    DecisionExpired: "expired",
}
"""Names of decisions in metrics and spans."""
_OVER_NATS: Final = ("", "nats")
"""Sign-ins of requesters that did not ask over HTTP."""


def spans(run: Run, it: Recorded, now: datetime) -> Iterator[Span]:
    """Spans that end with the fact `it`, recorded `now` and folded in `run`; its writing began at `it.time`."""
    match it.fact:
        case RunAccepted(auth=auth):
            yield _message("process", REQUESTED if auth in _OVER_NATS else ASKED, it, now)
        case TaskIssued():
            assert it.slot.kind
            step = Step(run.id, it.slot.kind, it.slot.round, it.slot.index)
            attributes = messaging_attributes("send", step, it.slot.attempt)
            name = f"send task.{step.kind}"
            yield Span(name=name, kind="producer", began=it.time, ended=max(now, it.time), attributes=attributes)
        case DecisionApproved() | DecisionRejected() | DecisionRevised() | DecisionExpired():
            yield from _wait(run, it, DECIDED[type(it.fact)], it.fact.via)
        case RunCompleted() as ended:
            if run.current.decision is None:
                yield from _wait(run, it, ended.outcome, "")
            yield _message("send", COMPLETED, it, now)
            yield from _whole(run, ended, now)
        case _:
            pass


def _wait(run: Run, it: Recorded, decision: str, via: str) -> Iterator[Span]:
    """Span from a hold to its decision; none without a hold or a valid trace."""
    number = it.slot.round or run.round
    hold = run.in_round(number).hold
    trace = traces.parse_traceparent(run.traceparent)
    if hold is None or trace is None:
        return
    attributes: dict[str, Attribute] = {
        genai.RUN_ID: run.id,
        "dossier.round": number,
        "dossier.decision": decision,
        "dossier.decision.via": via,
        "dossier.quorum": hold.fact.quorum,
    }
    yield Span(
        name="wait for decision",
        kind="internal",
        began=hold.at,
        ended=max(it.time, hold.at),
        attributes=attributes,
        id=traces.hold_span_id(trace.trace_id, run.id, number),
    )


def _whole(run: Run, ended: RunCompleted, now: datetime) -> Iterator[Span]:
    """Span of the run from acceptance to end, parent of its other spans; none without a valid trace."""
    trace = traces.parse_traceparent(run.traceparent)
    if trace is None or run.accepted is None:
        return
    name, attributes = genai.workflow_span("research")
    more: dict[str, Attribute] = {
        genai.RUN_ID: run.id,
        "dossier.outcome": ended.outcome,
        "dossier.rounds": run.round,
        "dossier.model_calls": ended.usage.calls,
        "dossier.cost_dollars": ended.usage.cost_usd or 0.0,
        "dossier.forked": run.accepted.fact.fork is not None,
    }
    yield Span(
        name=name,
        kind="internal",
        began=run.accepted.at,
        ended=max(now, run.accepted.at),
        attributes={**attributes, **more},
        error="failed" if ended.outcome == "failed" else "",
        id=traces.run_span_id(trace.trace_id, run.id),
    )


def _message(operation: str, subject: str, it: Recorded, now: datetime) -> Span:
    """Span of a contract message that was processed or sent."""
    attributes: dict[str, Attribute] = {
        "messaging.system": "nats",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": subject,
        "messaging.message.id": Slot(it.slot.run, it.slot.name).subject,
        genai.RUN_ID: it.slot.run,
    }
    kind = "producer" if operation == "send" else "consumer"
    name = f"{operation} {subject}"
    return Span(name=name, kind=kind, began=it.time, ended=max(now, it.time), attributes=attributes)
