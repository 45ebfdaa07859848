"""Everything that can happen in a run, one tagged union.

The tag is the CloudEvents `type`, version included. Fields are only ever added, with a default;
anything else is a new version, a class of its own beside the old one.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from shared.contracts.evidence import (
    Call,
    CitedSource,
    Estimate,
    Failure,
    Finding,
    Report,
    Skipped,
    Source,
    Usage,
    usage_of,
)
from shared.contracts.subjects import Kind
from shared.contracts.tasks import Task

Approval = Literal["required", "auto"]
Outcome = Literal["reported", "rejected", "expired", "cancelled", "failed"]
Via = Literal["api", "nats", "policy", "deadline", "quorum"]
"""How a decision came: over HTTP, as a contract message, by `approval: auto`, by time, or by enough votes."""


class _Fact(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all facts: sets how they are tagged."""


class Reused(Struct, frozen=True):
    """The slot (its path, as in `fetch.1.0`) of a run that gets the fact in the slot `origin` of another."""

    slot: str
    origin: str


class Forked(Struct, frozen=True):
    """What a run takes from another one, settled when it was accepted: nothing about it is looked up later."""

    run_id: str
    step: Kind = field(name="from")
    """The first step that is done anew."""
    reuses: tuple[Reused, ...] = ()
    queries: tuple[str, ...] = ()
    """The sub-queries, where they are not those of one plan of the other run."""


class RunAccepted(_Fact, frozen=True, kw_only=True, tag="run.accepted.v1"):
    """A request became a run. `request_sha256` is of the request's content, to tell a repetition from a clash."""

    q: str
    request_seq: int
    request_sha256: str
    approval: Approval
    approval_timeout_s: float
    max_cost_usd: float | None = None
    tools: tuple[str, ...] = ()
    requested_by: str = ""
    fork: Forked | None = None
    """Where this run takes up another one."""
    auth: str = ""
    """How the requester signed in; see `_Decided.auth`."""


class TaskIssued(_Fact, frozen=True, kw_only=True, tag="task.issued.v1"):
    """Work asked of a worker. `failures` counts the attempts before this one that failed by themselves."""

    task: Task
    failures: int = 0


class AttemptFailed(_Fact, frozen=True, kw_only=True, tag="attempt.failed.v1"):
    """One attempt failed and another may follow."""

    error: Failure
    duration_s: float
    calls: tuple[Call, ...] = ()
    """The model calls that it paid for all the same."""


class PlanMade(_Fact, frozen=True, kw_only=True, tag="plan.made.v1"):
    """The sub-queries of a round. `degraded` says why they were made by rule although a model was asked."""

    queries: tuple[str, ...]
    planner: str
    degraded: str | None = None
    usage: Usage = Usage()
    """The sum of `calls`."""
    calls: tuple[Call, ...] = ()
    copied_from: str = ""
    """The slot (subject) of another run that this was taken from, whose the work and its cost were."""
    duration_s: float | None = None
    """Seconds of work of the attempt that filled this box; `None` where none did, or from before it was kept."""


class PlanFailed(_Fact, frozen=True, kw_only=True, tag="plan.failed.v1"):
    """No plan could be made."""

    error: Failure
    calls: tuple[Call, ...] = ()
    duration_s: float | None = None
    """As in `PlanMade`."""


class FetchFound(_Fact, frozen=True, kw_only=True, tag="fetch.found.v1"):
    """Sources for one sub-query."""

    query: str
    sources: tuple[Source, ...]
    skipped: tuple[Skipped, ...] = ()
    copied_from: str = ""
    """As in `PlanMade`."""
    duration_s: float | None = None
    """As in `PlanMade`."""


class FetchFailed(_Fact, frozen=True, kw_only=True, tag="fetch.failed.v1"):
    """One sub-query brought nothing, and why; `skipped` says it of each page and tool that was tried."""

    query: str
    error: Failure
    skipped: tuple[Skipped, ...] = ()
    copied_from: str = ""
    """As in `PlanMade`."""
    duration_s: float | None = None
    """As in `PlanMade`."""


class HoldOpened(_Fact, frozen=True, kw_only=True, tag="hold.opened.v1"):
    """The evidence waits for a person until `deadline`. `digest` names exactly what there is to decide on."""

    digest: str
    deadline: Annotated[datetime, Meta(tz=True)]
    estimate: Estimate | None = None
    """What writing the report takes at most; `None` where no model would write it."""
    spent_usd: float = 0.0
    """What the run has cost so far, as far as prices are known."""
    quorum: int = 1
    """So many people have to approve."""
    four_eyes: bool = False
    """Whether whoever asked may not approve."""


class _Decided(_Fact, frozen=True, kw_only=True):
    by: str
    via: Via
    comment: str = ""
    digest: str | None = None
    """The digest of the hold that was decided on; `None` for a decision that came before it."""
    message_seq: int | None = None
    """The contract message that brought it, where one did."""
    auth: str = ""
    """How `by` is known: `key:<id>`, `session:<key id>`, `local` and `session:local` (whoever has the data folder, by
    whatever name), `nats` (whoever may publish, by whatever name); empty where nobody decided, or before it was kept.
    """


class VoteCast(_Decided, frozen=True, kw_only=True, tag="vote.cast.v1"):
    """One of several approvals that a hold needs, without the sources in `exclude` (SHA-256, hex)."""

    exclude: tuple[str, ...] = ()
    max_cost_usd: float | None = None
    """What the run may cost from here on, as far as it is up to this voter; see `DecisionApproved`."""


class HoldExtended(_Decided, frozen=True, kw_only=True, tag="hold.extended.v1"):
    """The hold waits until `deadline` instead. It counts if it was stored before the deadline that it extends."""

    deadline: Annotated[datetime, Meta(tz=True)]


class DecisionApproved(_Decided, frozen=True, kw_only=True, tag="decision.approved.v1"):
    """Write the report, without the sources in `exclude` (SHA-256, hex)."""

    exclude: tuple[str, ...] = ()
    max_cost_usd: float | None = None
    """What the run may cost from here on, in place of what was asked for; `None` changes nothing."""
    voters: tuple[str, ...] = ()
    """Whose votes it was, where more than one was needed."""


class DecisionRejected(_Decided, frozen=True, kw_only=True, tag="decision.rejected.v1"):
    """End the run without a report."""


class DecisionRevised(_Decided, frozen=True, kw_only=True, tag="decision.revised.v1"):
    """Plan another round with this feedback, keeping the evidence so far less `exclude` and `queries_drop`."""

    feedback: str
    exclude: tuple[str, ...] = ()
    queries_add: tuple[str, ...] = ()
    """Sub-queries of the next round, beside those that are planned."""
    queries_drop: tuple[str, ...] = ()
    """Sub-queries so far whose findings nobody wants; the log keeps them, and no task has them from here on."""
    max_cost_usd: float | None = None
    """As in `DecisionApproved`."""


class DecisionExpired(_Decided, frozen=True, kw_only=True, tag="decision.expired.v1"):
    """Nobody decided in time."""


class SynthesisWritten(_Fact, frozen=True, kw_only=True, tag="synthesis.written.v1"):
    """The report, and the digest of the decision that it was written under."""

    digest: str
    report: Report
    usage: Usage = Usage()
    """The sum of `calls`."""
    calls: tuple[Call, ...] = ()
    duration_s: float | None = None
    """As in `PlanMade`."""


class SynthesisFailed(_Fact, frozen=True, kw_only=True, tag="synthesis.failed.v1"):
    """No report could be written."""

    error: Failure
    calls: tuple[Call, ...] = ()
    duration_s: float | None = None
    """As in `PlanMade`."""


class RunCompleted(_Fact, frozen=True, kw_only=True, tag="run.completed.v1"):
    """The end of a run; what subscribers of `research.completed` receive.

    `ok` is true with the outcome `reported` alone. `report` is Markdown; one that does not fit in a message is left
    out, and `report_sha256` names its text in the `EVIDENCE` stream. `digest` is of the evidence that was decided on,
    `None` where it did not come to that.
    """

    run_id: str
    ok: bool
    outcome: Outcome
    reason: str = ""
    report: str | None = None
    sources: tuple[CitedSource, ...] = ()
    usage: Usage = Usage()
    agents: dict[str, Usage] = {}
    """The usage of each agent."""
    models: dict[str, Usage] = {}
    """The usage of each model."""
    digest: str | None = None
    by: str = ""
    """Who ended it, where a person did."""
    message_seq: int | None = None
    """The contract message that cancelled it, where one did."""
    report_sha256: str | None = None
    """The SHA-256 (hex) of a report that is too large for this message; else `None`."""
    auth: str = ""
    """How `by` is known; see `_Decided.auth`."""


class RequestRefused(_Fact, frozen=True, kw_only=True, tag="request.refused.v1"):
    """A contract message that was not taken: which one, and what a person can do about it."""

    seq: int
    subject: str
    run_id: str | None
    field: str
    error: Failure


class LogTruncated(_Fact, frozen=True, kw_only=True, tag="log.truncated.v1"):
    """The log was replaced by an older or another one. A fact of the log and not of a run.

    Sequences up to `last_seq` may have been given to other messages before.
    """

    last_seq: int
    reason: str


PlanOutcome = PlanMade | PlanFailed
FetchOutcome = FetchFound | FetchFailed
SynthesisOutcome = SynthesisWritten | SynthesisFailed
Decision = DecisionApproved | DecisionRejected | DecisionRevised | DecisionExpired
StepOutcome = PlanOutcome | FetchOutcome | SynthesisOutcome
AboutHold = HoldOpened | HoldExtended | VoteCast
Fact = RunAccepted | TaskIssued | AttemptFailed | StepOutcome | AboutHold | Decision | RunCompleted


def finding(outcome: FetchOutcome) -> Finding:
    """What a fetch brought, as the hold shows it and the writer gets it."""
    match outcome:
        case FetchFound(query=query, sources=sources, skipped=skipped):
            return Finding(query, sources, skipped=skipped)
        case FetchFailed(query=query, error=error, skipped=skipped):
            return Finding(query, failure=error, skipped=skipped)


def calls_of(fact: Fact) -> tuple[Call, ...]:
    """The model calls that a fact records."""
    match fact:
        case PlanMade() | PlanFailed() | SynthesisWritten() | SynthesisFailed() | AttemptFailed():
            return fact.calls
        case _:
            return ()


def having_paid(outcome: StepOutcome, calls: tuple[Call, ...]) -> StepOutcome:
    """`outcome` with the `calls` that were paid for before those it records."""
    match outcome:
        case PlanMade() | SynthesisWritten() if calls:
            return replace(outcome, calls=(*calls, *outcome.calls), usage=usage_of(calls).plus(outcome.usage))
        case PlanFailed() | SynthesisFailed() if calls:
            return replace(outcome, calls=(*calls, *outcome.calls))
        case _:
            return outcome


INTERRUPTED: Final = "interrupted"
"""The code of an attempt that its worker gave back when told to stop. It does not count as a failure."""
