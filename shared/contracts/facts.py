"""The facts of a run, one tagged union.

The tag is the CloudEvents `type`, version included. Fields are only ever added, with a default; any other change is a
new version, a class of its own beside the old one.
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
"""The channel of a decision: over HTTP, as a contract message, by `approval: auto`, by time, or by enough votes."""


class _Fact(Struct, frozen=True, kw_only=True, tag_field="type"):
    """Base of all facts. Sets the field of their tag."""


class Reused(Struct, frozen=True):
    """A slot (its path, as in `fetch.1.0`) that gets a copy of the fact in the slot `origin` of another run."""

    slot: str
    origin: str


class Forked(Struct, frozen=True):
    """The facts that a run takes from another one. Settled when the run was accepted."""

    run_id: str
    step: Kind = field(name="from")
    """The first step that is done anew."""
    reuses: tuple[Reused, ...] = ()
    queries: tuple[str, ...] = ()
    """The sub-queries, if they are not those of one plan of the other run."""


class RunAccepted(_Fact, frozen=True, kw_only=True, tag="run.accepted.v1"):
    """A request became a run."""

    q: str
    request_seq: int
    """Stream sequence of the request."""
    request_sha256: str
    """SHA-256 (hex) of the request's content; distinguishes a repeated request from a clash of ids."""
    approval: Approval
    approval_timeout_s: float
    max_cost_usd: float | None = None
    tools: tuple[str, ...] = ()
    requested_by: str = ""
    fork: Forked | None = None
    """The other run, if this one is a fork."""
    auth: str = ""
    """The authentication of the requester, as in `DecisionApproved`."""


class TaskIssued(_Fact, frozen=True, kw_only=True, tag="task.issued.v1"):
    """A task for a worker."""

    task: Task
    failures: int = 0
    """Earlier attempts that failed; interrupted ones are not counted."""


class AttemptFailed(_Fact, frozen=True, kw_only=True, tag="attempt.failed.v1"):
    """One attempt failed and another may follow."""

    error: Failure
    duration_s: float
    calls: tuple[Call, ...] = ()
    """The model calls of the attempt, which cost money all the same."""


class PlanMade(_Fact, frozen=True, kw_only=True, tag="plan.made.v1"):
    """The sub-queries of a round."""

    queries: tuple[str, ...]
    planner: str
    """The model, or `offline`."""
    degraded: str | None = None
    """The reason why the plan was made by rule although there is a model."""
    usage: Usage = Usage()
    """The sum of `calls`."""
    calls: tuple[Call, ...] = ()
    copied_from: str = ""
    """The slot (subject) of another run that this is a copy of; the work and its cost belong to that run."""
    duration_s: float | None = None
    """Seconds of work of the attempt that filled this slot; `null` for a copy, and in facts of early releases."""


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
    """One sub-query found nothing. `skipped` has the reason for each page and tool that was tried."""

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
    """The most that writing the report can take; `null` if no model would write it."""
    spent_usd: float = 0.0
    """US dollars that the run has cost so far, as far as prices are known."""
    quorum: int = 1
    """People who must approve."""
    four_eyes: bool = False
    """The requester may not approve."""


class _Decided(_Fact, frozen=True, kw_only=True):
    """Base of decisions and votes."""

    by: str
    via: Via
    comment: str = ""
    digest: str | None = None
    """The digest of the hold that was decided on; `null` for a decision that came before it."""
    message_seq: int | None = None
    """Stream sequence of the contract message that brought the decision, if one did."""
    auth: str = ""
    """How `by` is known: `key:<id>`, `session:<key id>`, `local` or `session:local` (the holder of the data folder,
    under any name), `nats` (any publisher, under any name). Empty if no person decided, and in facts of early releases.
    """


class VoteCast(_Decided, frozen=True, kw_only=True, tag="vote.cast.v1"):
    """One of several approvals that a hold needs, without the sources in `exclude` (SHA-256, hex)."""

    exclude: tuple[str, ...] = ()
    max_cost_usd: float | None = None
    """The new limit of the run's cost that this voter agrees to; see `DecisionApproved`."""


class HoldExtended(_Decided, frozen=True, kw_only=True, tag="hold.extended.v1"):
    """The hold waits until `deadline` instead. It counts if it was stored before the deadline that it extends."""

    deadline: Annotated[datetime, Meta(tz=True)]


class DecisionApproved(_Decided, frozen=True, kw_only=True, tag="decision.approved.v1"):
    """Write the report, without the sources in `exclude` (SHA-256, hex)."""

    exclude: tuple[str, ...] = ()
    max_cost_usd: float | None = None
    """The new limit of the run's cost; `null` keeps the limit of the request."""
    voters: tuple[str, ...] = ()
    """The people whose votes made this decision, if more than one was needed."""


class DecisionRejected(_Decided, frozen=True, kw_only=True, tag="decision.rejected.v1"):
    """End the run without a report."""


class DecisionRevised(_Decided, frozen=True, kw_only=True, tag="decision.revised.v1"):
    """Plan another round with this feedback, keeping the evidence so far less `exclude` and `queries_drop`."""

    feedback: str
    exclude: tuple[str, ...] = ()
    queries_add: tuple[str, ...] = ()
    """Sub-queries of the next round, in addition to the planned ones."""
    queries_drop: tuple[str, ...] = ()
    """Sub-queries so far whose findings are left out from here on; the log keeps them."""
    max_cost_usd: float | None = None
    """As in `DecisionApproved`."""


class DecisionExpired(_Decided, frozen=True, kw_only=True, tag="decision.expired.v1"):
    """The deadline passed without a decision."""


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
    """The end of a run. Subscribers of `research.completed` receive this fact."""

    run_id: str
    ok: bool
    """True for the outcome `reported` only."""
    outcome: Outcome
    reason: str = ""
    """The reason why the run ended without a report."""
    report: str | None = None
    """The report in Markdown; `null` without one, and for one that does not fit in a message."""
    sources: tuple[CitedSource, ...] = ()
    usage: Usage = Usage()
    agents: dict[str, Usage] = {}
    """The usage of each agent."""
    models: dict[str, Usage] = {}
    """The usage of each model."""
    digest: str | None = None
    """The digest of the evidence that was decided on; `null` if there was no decision."""
    by: str = ""
    """The person who ended the run, if one did."""
    message_seq: int | None = None
    """Stream sequence of the contract message that cancelled the run, if one did."""
    report_sha256: str | None = None
    """SHA-256 (hex) of a report that is too large for this message; its text is in the stream `EVIDENCE`."""
    auth: str = ""
    """The authentication of `by`, as in `DecisionApproved`."""


class RequestRefused(_Fact, frozen=True, kw_only=True, tag="request.refused.v1"):
    """A request or decision that was refused, with the field and the reason."""

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
HoldFact = HoldOpened | HoldExtended | VoteCast
Fact = RunAccepted | TaskIssued | AttemptFailed | StepOutcome | HoldFact | Decision | RunCompleted


def finding_of(outcome: FetchOutcome) -> Finding:
    """Return the finding of a fetch: its sources, or the failure."""
    match outcome:
        case FetchFound(query=query, sources=sources, skipped=skipped):
            return Finding(query, sources, skipped=skipped)
        case FetchFailed(query=query, error=error, skipped=skipped):
            return Finding(query, failure=error, skipped=skipped)


def calls_of(fact: Fact) -> tuple[Call, ...]:
    """Return the model calls that a fact records; none for facts that record no calls."""
    match fact:
        case PlanMade() | PlanFailed() | SynthesisWritten() | SynthesisFailed() | AttemptFailed():
            return fact.calls
        case _:
            return ()


def with_prior_calls(outcome: StepOutcome, calls: tuple[Call, ...]) -> StepOutcome:
    """Return `outcome` with `calls` before its own, and their cost in its usage. Fetches have no calls and stay as they
    are.
    """
    match outcome:
        case PlanMade() | SynthesisWritten() if calls:
            return replace(outcome, calls=(*calls, *outcome.calls), usage=usage_of(calls).plus(outcome.usage))
        case PlanFailed() | SynthesisFailed() if calls:
            return replace(outcome, calls=(*calls, *outcome.calls))
        case _:
            return outcome


INTERRUPTED: Final = "interrupted"
"""The code of an attempt that its worker gave back when it was stopped. It does not count as a failure."""
