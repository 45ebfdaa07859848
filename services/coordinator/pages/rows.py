"""Runs as the inbox lists them. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from services.coordinator.intake import deadline_of
from services.coordinator.run import STATUSES, Run

Show = Literal["waiting", "running", "finished", "failed", "all"]
SHOWS: Final[dict[Show, tuple[str, ...]]] = {
    "waiting": ("hold",),
    "running": ("planning", "fetching", "writing"),
    "finished": ("reported", "rejected", "expired", "cancelled"),
    "failed": ("failed", "parked"),
    "all": STATUSES,
}
_SOON: Final = timedelta(minutes=30)


class Row(Struct, frozen=True):
    """One run in a list. `left` is what remains until its deadline, where it waits for a decision."""

    run_id: str
    q: str
    status: str
    asked_by: str
    asked_at: datetime | None
    ended_at: datetime | None
    queries: int
    answered: int
    failed: int
    sources: int
    origins: int
    cost_usd: float | None
    is_free: bool
    deadline: datetime | None
    left: timedelta | None
    digest: str
    reason: str
    seq: int

    @property
    def is_urgent(self) -> bool:
        """Whether there is little time left to decide."""
        return self.left is not None and self.left < _SOON


def row(run: Run, now: datetime) -> Row:
    """The run in a list, as of `now`."""
    accepted, findings, usage = run.accepted, run.findings(), run.usage()
    sources = [source for finding in findings for source in finding.sources]
    deadline = deadline_of(run)
    hold = run.current.hold
    return Row(
        run_id=run.id,
        q=accepted.fact.q if accepted else "",
        status=run.status,
        asked_by=accepted.fact.requested_by if accepted else "",
        asked_at=accepted.at if accepted else None,
        ended_at=run.completed.at if run.completed else None,
        queries=len(findings),
        answered=sum(bool(finding.sources) for finding in findings),
        failed=sum(not finding.sources for finding in findings),
        sources=len({source.sha256 for source in sources}),
        origins=len({source.origin or source.sha256 for source in sources}),
        cost_usd=usage.cost_usd,
        is_free=usage.calls == 0,
        deadline=deadline,
        left=deadline - now if deadline else None,
        digest=hold.fact.digest if hold else "",
        reason=_reason(run),
        seq=run.seq,
    )


def by_deadline(rows: Sequence[Row]) -> list[Row]:
    """Those with the least time left first."""
    return sorted(rows, key=lambda row: (row.left is None, row.left or timedelta(), row.run_id))


def _reason(run: Run) -> str:
    if run.completed:
        return run.completed.fact.reason
    return run.unknown.fact if run.unknown else ""
