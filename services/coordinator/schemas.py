"""What the HTTP API takes and gives."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from services.coordinator.costs import EstimateView, UsageView, estimate_view, usage_view
from services.coordinator.origins import origins
from services.coordinator.owed import decided_findings
from services.coordinator.run import Box, Run
from services.coordinator.spending import limit, over_budget
from services.coordinator.standing import Late
from services.coordinator.voting import votes
from shared.contracts.evidence import Finding, Source
from shared.contracts.facts import DecisionApproved, DecisionExpired, DecisionRejected, DecisionRevised, VoteCast
from shared.contracts.requests import MAX_ADDED, MAX_FEEDBACK, MAX_QUESTION
from shared.contracts.subjects import Kind

Question = Annotated[str, Field(min_length=1, max_length=MAX_QUESTION)]
Comment = Annotated[str, Field(max_length=8_000)]
By = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]


BY_WHOM: Final = "Who says so. A key speaks for its name alone; with the token of the data folder any name will do."


class Body(BaseModel):
    """What is sent; a field that nobody knows is refused by name."""

    model_config = ConfigDict(extra="forbid")


class NewRun(Body):
    """A question to research."""

    q: Question
    approval: Literal["required", "auto"] = "required"
    approval_timeout: str | None = Field(default=None, examples=["2h"])
    max_cost_usd: float | None = Field(default=None, gt=0)
    tools: list[str] = Field(default=[], max_length=20)
    requested_by: str = Field(default="", max_length=200, description=BY_WHOM)


class NewApproval(Body):
    """A person's decision on the evidence of a run."""

    decision: Literal["approve", "reject", "revise"]
    comment: Comment = ""
    feedback: str = Field(
        default="", max_length=MAX_FEEDBACK, description="What the next round is for; revise needs it"
    )
    queries_add: list[str] = Field(default=[], max_length=MAX_ADDED, description="Sub-queries of the next round")
    queries_drop: list[str] = Field(default=[], max_length=1_000, description="Sub-queries whose findings to leave out")
    exclude: list[str] = Field(default=[], max_length=1_000, description="SHA-256 of sources to leave out")
    max_cost_usd: float | None = Field(default=None, gt=0, description="What the run may cost from here on")
    by: By | None = Field(default=None, description=BY_WHOM)
    digest: str | None = None


class NewCancel(Body):
    """Why a run is cancelled, and by whom."""

    comment: Comment = ""
    by: By | None = Field(default=None, description=BY_WHOM)


class NewLink(Body):
    """Who the link is for: with the token of the data folder, by any name."""

    by: By | None = None


class Link(BaseModel):
    """A link that signs a browser in, once. Opening it does nothing yet; the button on the page does."""

    path: str = Field(examples=["/sign-in?ticket=…"])
    expires_at: datetime


class Accepted(BaseModel):
    """A run that was asked for."""

    run_id: str
    location: str
    sequence: int


class PassageView(BaseModel):
    """A verbatim excerpt, `start` characters into the frozen text."""

    text: str
    start: int


class SourceView(BaseModel):
    """One document that was found."""

    sha256: str
    title: str
    location: str
    tool: str
    excluded: bool
    passages: list[PassageView]
    url: str
    status: int | None
    fetched_at: datetime | None
    media_type: str
    bytes_sha256: str
    published: str | None
    language: str
    origin: str
    also: list[str]
    stripped: list[str]


class SkippedView(BaseModel):
    """A page or a tool that brought nothing, and why. `code` is for programs."""

    location: str
    code: str
    message: str


class FindingView(BaseModel):
    """What one sub-query brought."""

    query: str
    sources: list[SourceView]
    failure: str | None
    skipped: list[SkippedView]
    round: int = 1
    dropped: bool = False


class DecisionView(BaseModel):
    """What was decided, by whom, how and when."""

    decision: str
    by: str
    via: str
    comment: str
    digest: str | None
    at: datetime
    auth: str = Field(default="", description="How `by` is known: key:<id>, session:<key id>, local, nats")
    voters: list[str] = []


class VoteView(BaseModel):
    """One of the approvals that a hold needs."""

    by: str
    via: str
    auth: str
    comment: str
    exclude: list[str]
    at: datetime


class LateView(BaseModel):
    """A run that should have moved and did not: since when, and whose turn it is.

    `code` is `unanswered` for a worker's, `unwritten` for a coordinator's.
    """

    code: str
    since: datetime
    reason: str


class ForkView(BaseModel):
    """The run that this one takes up, the step that is done anew, and how many boxes it took from there."""

    model_config = ConfigDict(populate_by_name=True)

    run_id: str
    step: Kind = Field(validation_alias="from", serialization_alias="from")
    reused: int


class RunSummary(BaseModel):
    """A run as lists show it."""

    run_id: str
    status: str
    q: str
    requested_by: str
    created_at: datetime | None
    deadline: datetime | None
    digest: str | None
    queries: int
    answered: int
    failed: int
    sources: int
    origins: int
    sequence: int
    late: LateView | None = None


class RunView(RunSummary):
    """Everything that is known of a run."""

    round: int
    plan: list[str]
    findings: list[FindingView]
    decision: DecisionView | None
    requested_auth: str = ""
    quorum: int = Field(default=1, description="So many people have to approve")
    four_eyes: bool = Field(default=False, description="Whether whoever asked may not approve")
    votes: list[VoteView] = []
    outcome: str | None
    ok: bool | None
    reason: str
    completed_at: datetime | None
    parked: str | None
    fork: ForkView | None = None
    usage: UsageView = UsageView()
    agents: dict[str, UsageView] = {}
    models: dict[str, UsageView] = {}
    max_cost_usd: float | None = None
    estimate: EstimateView | None = None
    over_budget: bool = Field(
        default=False, description="The hold takes no approval that does not give a higher max_cost_usd"
    )


class RunPage(BaseModel):
    """Some runs, newest first; `next` is the cursor of those that follow."""

    runs: list[RunSummary]
    next: str | None


class EventView(BaseModel):
    """One fact of a run: its place in the log, its slot, and the CloudEvent that is stored there."""

    sequence: int
    slot: str
    type: str
    time: datetime | None
    data: object


class EventPage(BaseModel):
    """All facts of a run so far, in order."""

    run_id: str
    events: list[EventView]


class Problem(BaseModel):
    """RFC 9457. `code` is for programs."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    run_id: str | None = None
    state: str | None = None
    winner: str | None = None
    field: str | None = None


def summary(run: Run, late: Late | None = None) -> RunSummary:
    """The run as lists show it."""
    accepted = run.accepted
    hold = run.current.hold
    findings = run.findings()
    return RunSummary(
        run_id=run.id,
        status=run.status,
        q=accepted.fact.q if accepted else "",
        requested_by=accepted.fact.requested_by if accepted else "",
        created_at=accepted.at if accepted else None,
        deadline=hold.fact.deadline if hold else None,
        digest=hold.fact.digest if hold else None,
        queries=sum(len(run.queries(number)) for number in run.rounds),
        answered=sum(bool(finding.sources) for finding in findings),
        failed=sum(not finding.sources for finding in findings),
        sources=len({source.sha256 for finding in findings for source in finding.sources}),
        origins=origins(source for finding in findings for source in finding.sources),
        sequence=run.seq,
        late=LateView(code=late.code, since=late.since, reason=late.text) if late else None,
    )


def view(run: Run, late: Late | None = None) -> RunView:
    """The run in full."""
    fork = run.accepted.fact.fork if run.accepted else None
    ended = run.completed.fact if run.completed else None
    hold = run.current.hold.fact if run.current.hold else None
    return RunView(
        **summary(run, late).model_dump(),
        round=run.round,
        plan=[query for number in sorted(run.rounds) for query in run.queries(number)],
        findings=_findings(run),
        decision=_decision(run),
        requested_auth=run.accepted.fact.auth if run.accepted else "",
        quorum=hold.quorum if hold else 1,
        four_eyes=hold.four_eyes if hold else False,
        votes=[_vote(vote) for vote in votes(run.current)],
        outcome=ended.outcome if ended else None,
        ok=ended.ok if ended else None,
        reason=ended.reason if ended else "",
        completed_at=run.completed.at if run.completed else None,
        parked=run.unknown.fact if run.unknown else None,
        fork=ForkView(run_id=fork.run_id, step=fork.step, reused=len(fork.reuses)) if fork else None,
        usage=usage_view(run.usage()),
        agents={name: usage_view(usage) for name, usage in run.usage_by(lambda call: call.agent).items()},
        models={name: usage_view(usage) for name, usage in run.usage_by(lambda call: call.model).items()},
        max_cost_usd=limit(run),
        estimate=estimate_view(run),
        over_budget=over_budget(run),
    )


def _findings(run: Run) -> list[FindingView]:
    kept = {source.sha256 for finding in decided_findings(run) for source in finding.sources}
    return [
        _finding(finding, kept, round_=number, is_dropped=finding.query in run.dropped(number))
        for number, finding in run.found()
    ]


def _finding(finding: Finding, kept: set[str], *, round_: int, is_dropped: bool) -> FindingView:
    return FindingView(
        query=finding.query,
        sources=[_source(source, excluded=source.sha256 not in kept) for source in finding.sources],
        failure=finding.failure.message if finding.failure else None,
        skipped=[
            SkippedView(location=one.location, code=one.failure.code, message=one.failure.message)
            for one in finding.skipped
        ],
        round=round_,
        dropped=is_dropped,
    )


def _source(source: Source, *, excluded: bool) -> SourceView:
    return SourceView(
        sha256=source.sha256,
        title=source.title,
        location=source.location,
        tool=source.tool,
        excluded=excluded,
        passages=[PassageView(text=passage.text, start=passage.start) for passage in source.passages],
        url=source.url,
        status=source.status,
        fetched_at=source.fetched_at,
        media_type=source.media_type,
        bytes_sha256=source.bytes_sha256,
        published=source.published,
        language=source.language,
        origin=source.origin,
        also=list(source.also),
        stripped=list(source.stripped),
    )


_NAMES: Final[dict[type, str]] = {
    DecisionApproved: "approved",
    DecisionRejected: "rejected",
    DecisionRevised: "revised",
    DecisionExpired: "expired",
}


def _decision(run: Run) -> DecisionView | None:
    box = run.current.decision or (run.in_round(run.round - 1).decision if run.round > 1 else None)
    if box is None:
        return None
    return DecisionView(
        decision=_NAMES[type(box.fact)],
        by=box.fact.by,
        via=box.fact.via,
        comment=box.fact.comment or (box.fact.feedback if isinstance(box.fact, DecisionRevised) else ""),
        digest=box.fact.digest,
        at=box.at,
        auth=box.fact.auth,
        voters=list(box.fact.voters) if isinstance(box.fact, DecisionApproved) else [],
    )


def _vote(box: Box[VoteCast]) -> VoteView:
    vote = box.fact
    return VoteView(
        by=vote.by, via=vote.via, auth=vote.auth, comment=vote.comment, exclude=list(vote.exclude), at=box.at
    )
