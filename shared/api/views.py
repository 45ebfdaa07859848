"""Request and response bodies of the HTTP API: failures, waits, forks and deliveries."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from shared.api.schemas import Accepted, Body, LateView, Question
from shared.contracts.deliveries import EventType
from shared.contracts.evidence import Failure
from shared.contracts.forks import MAX_QUERIES
from shared.contracts.subjects import Kind
from shared.domain.diagnosis import Diagnosis
from shared.domain.failures import FailedAttempt, FailureKind, FailureRecord
from shared.runtime.deliveries import DeliveryState


class ErrorView(BaseModel):
    """A stable `code` for programs, a sentence for people."""

    code: str
    message: str


class FailedAttemptView(BaseModel):
    """One attempt that failed; `duration_s` is null if no worker took it, or its time is not recorded."""

    attempt: int
    at: datetime
    error: ErrorView
    duration_s: float | None


class FailureView(BaseModel):
    """One failure. Of a step: its place in the run, its input and every attempt. Of a contract message that was
    refused: its sequence, the field at fault, and its content, cut off.
    """

    sequence: int
    kind: FailureKind
    run_id: str | None
    at: datetime
    error: ErrorView
    round: int | None = None
    index: int | None = None
    input: dict[str, Any] | None = None
    attempts: list[FailedAttemptView] = []
    refused: int | None = None
    subject: str | None = None
    field: str | None = None
    content: str | None = None
    content_bytes: int | None = None


class FailurePage(BaseModel):
    """Failures, newest first; `next` is the cursor of the next page."""

    failures: list[FailureView]
    next: str | None


class QueueView(BaseModel):
    """Tasks of one kind, of all runs together."""

    waiting: int
    in_flight: int
    limit: int
    redelivered: int
    asking: int


class WaitView(BaseModel):
    """One reason why a run waits."""

    code: str = Field(description="ended, parked, person, retry, place, worker, working or coordinator")
    text: str
    since: datetime | None
    kind: Kind | None
    round: int | None
    index: int | None
    of: int | None
    attempt: int | None
    attempts: int | None
    error: ErrorView | None
    failed_at: datetime | None
    next_try_at: datetime | None
    deadline: datetime | None
    may_decide: str | None
    queue: QueueView | None


class WhyView(WaitView):
    """The reason why a run waits. If several fetches are open, `others` are those beyond the first."""

    run_id: str
    status: str
    at: datetime
    late: LateView | None
    others: list[WaitView]


class _ForkOptions(Body):
    """Options that a fork of one run and a bulk fork share."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    step: Kind | None = Field(
        default=None,
        validation_alias="from",
        serialization_alias="from",
        description="Without it, the earliest that failed, else plan",
    )
    all: bool = Field(default=False, description="From fetch: repeat also the fetches that brought something")
    approval: Literal["required", "auto"] | None = None
    approval_timeout: str | None = Field(default=None, examples=["2h"])
    max_cost_usd: float | None = Field(default=None, gt=0)
    tools: list[str] | None = Field(default=None, max_length=20)
    requested_by: str = Field(default="", max_length=200)


class NewFork(_ForkOptions):
    """Changes of a fork. A field that is left out is as in the source run."""

    q: Question | None = None
    replace: dict[str, str] = Field(default={}, description="Sub-queries by their text, each with its new one")
    add: list[str] = Field(default=[], max_length=MAX_QUERIES)
    drop: list[str] = Field(default=[], max_length=MAX_QUERIES)


class NewForks(_ForkOptions):
    """A bulk fork: filter and changes. At least one of `status`, `code`, `text` and `since` is required."""

    status: list[str] = Field(default=[], max_length=20)
    code: str = Field(default="", max_length=100)
    text: str = Field(default="", max_length=200)
    since: AwareDatetime | None = None
    dry_run: bool = False
    cursor: Annotated[str | None, Field(pattern="^[0-9]{1,18}$")] = None
    limit: int = Field(default=50, ge=1, le=200)


class ForkAccepted(Accepted):
    """A fork that was requested: the first step that is performed again, and the number of slots that are reused."""

    model_config = ConfigDict(populate_by_name=True)

    forked: str
    step: Kind = Field(validation_alias="from", serialization_alias="from")
    reused: int


class ForkedRow(BaseModel):
    """Result for one run: `forked`, `would_fork`, `already` (an earlier call with this key), or `refused` with the
    error.
    """

    model_config = ConfigDict(populate_by_name=True)

    run_id: str
    status: str
    q: str
    result: Literal["forked", "would_fork", "already", "refused"]
    fork_id: str | None = None
    step: Kind | None = Field(default=None, validation_alias="from", serialization_alias="from")
    reused: int | None = None
    error: ErrorView | None = None


class ForkPage(BaseModel):
    """Results of a bulk fork, newest run first; `next` is the cursor of the next page."""

    forks: list[ForkedRow]
    next: str | None


def error_view(error: Failure) -> ErrorView:
    """The error as the API returns it."""
    return ErrorView(code=error.code, message=error.message)


def failure_view(
    failed: FailureRecord, tries: Sequence[FailedAttempt], input_: dict[str, object] | None
) -> FailureView:
    """The failure as the API returns it, with the failed attempts and the input of its step, if it is one of a step."""
    is_step = failed.kind in ("plan", "fetch", "synthesize")
    return FailureView(
        sequence=failed.seq,
        kind=failed.kind,
        run_id=failed.run or None,
        at=failed.at,
        error=error_view(failed.error),
        round=failed.round if is_step else None,
        index=failed.index if is_step else None,
        input=input_,
        attempts=[
            FailedAttemptView(attempt=one.attempt, at=one.at, error=error_view(one.error), duration_s=one.duration_s)
            for one in tries
        ],
        refused=failed.refused,
        subject=failed.subject or None,
        field=failed.field or None,
    )


def wait_view(wait: Diagnosis, attempts: int) -> WaitView:
    """The wait as the API returns it; `attempts` is the number of attempts that a step gets."""
    step, queue = wait.step, wait.queue
    return WaitView(
        code=wait.code,
        text=wait.text,
        since=wait.since,
        kind=step.kind if step else None,
        round=step.round if step else None,
        index=step.index if step else None,
        of=wait.of,
        attempt=wait.attempt,
        attempts=attempts if step else None,
        error=error_view(wait.error) if wait.error else None,
        failed_at=wait.failed_at,
        next_try_at=wait.next_try_at,
        deadline=wait.deadline,
        may_decide=wait.may_decide,
        queue=QueueView.model_validate(queue, from_attributes=True) if queue else None,
    )


class AttemptView(BaseModel):
    """One attempt of a delivery, and its result."""

    result: str
    status: int | None
    error: str | None
    duration_s: float


class DeliveryView(BaseModel):
    """One event for one endpoint. `due` is the time of the next attempt; `asks` counts the first request and each
    resend.
    """

    delivery_id: str
    webhook_id: str
    endpoint: str
    run_id: str
    event: EventType
    state: DeliveryState
    happened_at: datetime
    due: datetime | None
    asks: int
    attempts: list[AttemptView]


class DeliveryPage(BaseModel):
    """Some deliveries, newest first; `next` is the cursor of those that follow."""

    deliveries: list[DeliveryView]
    next: str | None
