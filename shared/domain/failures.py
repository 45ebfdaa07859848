"""Failures as records for search: failed steps, failed and parked runs, refused contract messages. Pure.

A `FailureRecord` is one row of the projection's table `failure`, derived from the run as folded; details are read from
the run.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final, Literal, get_args

import msgspec
from msgspec import Struct

from shared.contracts.evidence import Failure
from shared.contracts.facts import (
    FetchFailed,
    PlanFailed,
    RequestRefused,
    SynthesisFailed,
)
from shared.contracts.messages import Message
from shared.contracts.subjects import Kind, Step, refused_sequence
from shared.domain.owed import plan_task
from shared.domain.run import Round, Run
from shared.domain.steps import step_state

FailureKind = Literal["plan", "fetch", "synthesize", "run", "parked", "request"]
"""A step; a run that failed without a step that did, or is parked; a contract message."""
FAILURE_KINDS: Final[tuple[FailureKind, ...]] = get_args(FailureKind)


class FailureRecord(Struct, frozen=True):
    """One failure: sequence in the log, run, time and error. `about` is the question or sub-query that failed."""

    seq: int
    kind: FailureKind
    run: str
    at: datetime
    error: Failure
    round: int = 0
    index: int = 0
    about: str = ""
    subject: str = ""
    field: str = ""
    refused: int | None = None
    """The sequence of the contract message that was refused."""

    @property
    def text(self) -> str:
        """Text that a search for failures matches."""
        return " ".join((self.run, self.error.message, self.about, self.subject, self.field))


class FailedAttempt(Struct, frozen=True):
    """One failed attempt. `duration_s` is `None` if no worker worked on it, or the duration is not recorded."""

    attempt: int
    at: datetime
    error: Failure
    duration_s: float | None = None


def run_failures(run: Run) -> list[FailureRecord]:
    """Final failures of a run: its failed steps, else the run itself; and what parks it.

    Failures that a fork copied belong to the run that they were copied from and are left out.
    """
    failed = [one for number, round_ in run.rounds.items() for one in _round_failures(run, number, round_)]
    ended = run.completed
    if ended and ended.fact.outcome == "failed" and not failed:
        failed.append(_record(run, ended.seq, "run", ended.at, Failure("failed", ended.fact.reason)))
    if run.unknown:
        failed.append(_record(run, run.unknown.seq, "parked", run.unknown.at, Failure("unknown", run.unknown.fact)))
    return failed


def _round_failures(run: Run, number: int, round_: Round) -> Iterator[FailureRecord]:
    """Failed plan, fetches and report of a round, without copied ones."""
    plan, synthesis = round_.plan, round_.synthesis
    if plan and isinstance(plan.fact, PlanFailed):
        yield _record(run, plan.seq, "plan", plan.at, plan.fact.error, number)
    for index, fetch in round_.fetches.items():
        if isinstance(fetch.fact, FetchFailed) and not fetch.fact.copied_from:
            query = fetch.fact.query or _query(run, number, index)
            yield msgspec.structs.replace(
                _record(run, fetch.seq, "fetch", fetch.at, fetch.fact.error, number), index=index, about=query
            )
    if synthesis and isinstance(synthesis.fact, SynthesisFailed):
        yield _record(run, synthesis.seq, "synthesize", synthesis.at, synthesis.fact.error, number)


def _record(run: Run, seq: int, kind: FailureKind, at: datetime, error: Failure, number: int = 0) -> FailureRecord:
    """Record of a failure in `run`, about its question."""
    return FailureRecord(seq, kind, run.id, at, error, number, about=run.accepted.fact.q if run.accepted else "")


def _query(run: Run, number: int, index: int) -> str:
    """A sub-query by its index; empty if the round has none there."""
    queries = run.queries(number)
    return queries[index] if index < len(queries) else ""


def refusal_failure(message: Message) -> FailureRecord | None:
    """Record of the contract message that `message` refuses; `None` unless it is on `research.invalid.<seq>`.

    An unreadable refusal is recorded with the code `unreadable`.
    """
    refused = refused_sequence(message.subject)
    if refused is None:
        return None
    try:
        why = _decode_refusal(message.data).data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        unreadable = Failure("unreadable", f"The refusal itself cannot be read: {error}")
        return FailureRecord(message.seq, "request", "", message.time, unreadable, refused=refused)
    return FailureRecord(
        message.seq,
        "request",
        why.run_id or "",
        message.time,
        why.error,
        subject=why.subject,
        field=why.field,
        refused=refused,
    )


class _Refusal(Struct, frozen=True):
    data: RequestRefused


_decode_refusal: Final = msgspec.json.Decoder(_Refusal).decode


def failed_attempts(run: Run, failed: FailureRecord) -> list[FailedAttempt]:
    """Attempts of a failed step in order, the last with the error that ended it; empty if no step failed."""
    if failed.kind not in ("plan", "fetch", "synthesize"):
        return []
    kind: Kind = failed.kind
    state = step_state(run.in_round(failed.round), Step(run.id, kind, failed.round, failed.index))
    earlier = [
        FailedAttempt(each.slot.attempt, each.failed.at, each.failed.fact.error, each.failed.fact.duration_s)
        for each in state.attempts
        if each.failed
    ]
    worked_s = state.outcome.fact.duration_s if state.outcome else None
    return [*earlier, FailedAttempt(state.current.slot.attempt, failed.at, failed.error, worked_s)]


def failed_input(run: Run, failed: FailureRecord) -> dict[str, object]:
    """Input of the failed step by name; empty if the run is not accepted.

    For a plan question, feedback and earlier sub-queries; for a fetch its query and tools; for a report question,
    digest and number of sources; for any other failure the question.
    """
    if run.accepted is None:
        return {}
    request = run.accepted.fact
    match failed.kind:
        case "plan":
            task = plan_task(run, request, failed.round)
            return {"q": task.q, "feedback": task.feedback, "asked": task.asked}
        case "fetch":
            return {"query": failed.about, "tools": request.tools}
        case "synthesize":
            hold = run.in_round(failed.round).hold
            sources = {source.sha256 for finding in run.findings() for source in finding.sources}
            return {"q": request.q, "digest": hold.fact.digest if hold else None, "sources": len(sources)}
        case _:
            return {"q": request.q}
