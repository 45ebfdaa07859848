"""Request and response bodies of the HTTP API: runs, decisions, events and problems."""

from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.api.costs import EstimateView, UsageView
from shared.contracts.requests import MAX_ADDED, MAX_FEEDBACK, MAX_QUESTION
from shared.contracts.subjects import Kind

Question = Annotated[str, Field(min_length=1, max_length=MAX_QUESTION)]
Comment = Annotated[str, Field(max_length=8_000)]
By = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]


BY_WHOM: Final = "The name of the person. A key accepts its own name only; the token of the data folder any name."


class Body(BaseModel):
    """A request body; unknown fields are refused by name."""

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
        default="", max_length=MAX_FEEDBACK, description="What the next round should find; required to revise"
    )
    queries_add: list[str] = Field(default=[], max_length=MAX_ADDED, description="Sub-queries of the next round")
    queries_drop: list[str] = Field(default=[], max_length=1_000, description="Sub-queries whose findings to leave out")
    exclude: list[str] = Field(default=[], max_length=1_000, description="SHA-256 of sources to leave out")
    max_cost_usd: float | None = Field(default=None, gt=0, description="The new limit of the run's cost, in US dollars")
    by: By | None = Field(default=None, description=BY_WHOM)
    digest: str | None = None


class NewExtension(Body):
    """More time to decide. `deadline` is when it ends from now on, so that sent twice it is done once."""

    deadline: AwareDatetime = Field(
        description="Later than the current one, and at most 366 days after the hold opened"
    )
    comment: Comment = ""
    by: By | None = Field(default=None, description=BY_WHOM)
    digest: str | None = None


class NewCancel(Body):
    """Reason why a run is cancelled, and the name of the person."""

    comment: Comment = ""
    by: By | None = Field(default=None, description=BY_WHOM)


class NewLink(Body):
    """Name of the person whom the link signs in. Only the token of the data folder may give another than its own."""

    by: By | None = None


class Link(BaseModel):
    """A link that signs a browser in, once. Opening it does nothing yet; the button on the page signs in."""

    path: str = Field(examples=["/sign-in?ticket=…"])
    expires_at: datetime


class Accepted(BaseModel):
    """A new run, and the sequence of its request."""

    run_id: str
    location: str
    sequence: int


class PassageView(BaseModel):
    """A verbatim excerpt, `start` characters into the frozen text."""

    text: str
    start: int


class SourceView(BaseModel):
    """A document that was found; `excluded` if the writer does not get it."""

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
    """A page or a tool that gave no source, and the reason. `code` is for programs."""

    location: str
    code: str
    message: str


class FindingView(BaseModel):
    """Result of one sub-query: its sources, or its failure."""

    query: str
    sources: list[SourceView]
    failure: str | None
    skipped: list[SkippedView]
    round: int = 1
    dropped: bool = False


class DecisionView(BaseModel):
    """A decision: by which person, by which way and when."""

    decision: str
    by: str
    via: str
    comment: str
    digest: str | None
    at: datetime
    auth: str = Field(default="", description="How `by` is known: key:<id>, session:<key id>, local, nats")
    voters: list[str] = []


class ExtensionView(BaseModel):
    """An extension of a hold's deadline."""

    deadline: datetime
    by: str
    auth: str
    comment: str
    at: datetime


class VoteView(BaseModel):
    """One of the approvals that a hold needs."""

    by: str
    via: str
    auth: str
    comment: str
    exclude: list[str]
    at: datetime


class LateView(BaseModel):
    """A run that is overdue: since when, and which part should act.

    `code` is `unanswered` for a worker, `unwritten` for a coordinator.
    """

    code: str
    since: datetime
    reason: str


class ForkView(BaseModel):
    """Origin of a fork: the source run, the first step that is performed again, and the number of slots that are
    reused.
    """

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
    """A run in full."""

    round: int
    plan: list[str]
    findings: list[FindingView]
    decision: DecisionView | None
    requested_auth: str = ""
    quorum: int = Field(default=1, description="People who must approve")
    four_eyes: bool = Field(default=False, description="The requester may not approve")
    votes: list[VoteView] = []
    extensions: list[ExtensionView] = []
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
    """Problem details after RFC 9457. `code` is for programs."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    run_id: str | None = None
    state: str | None = None
    winner: str | None = None
    field: str | None = None
