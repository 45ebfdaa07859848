"""Rows of lists of runs, made when a run is saved, so that lists load no runs. Pure."""

from datetime import datetime, timedelta
from typing import Final, Literal

from msgspec import Struct

from shared.domain.approval import valid_votes
from shared.domain.decisions import decision_deadline
from shared.domain.origins import count_origins
from shared.domain.run import STATUSES, Run

Show = Literal["waiting", "running", "finished", "failed", "all"]
SHOWS: Final[dict[Show, tuple[str, ...]]] = {
    "waiting": ("hold",),
    "running": ("planning", "fetching", "writing"),
    "finished": ("reported", "rejected", "expired", "cancelled"),
    "failed": ("failed", "parked"),
    "all": STATUSES,
}
_SOON: Final = timedelta(minutes=30)
_MAX_TEXT: Final = 1_000
"""Characters of a question or reason that a list shows at most."""


class RunRow(Struct, frozen=True, array_like=True):
    """One run in a list. `deadline` is that of its hold, or `None`; `seq` the sequence of its newest fact."""

    run_id: str
    place: int
    seq: int
    status: str
    q: str
    asked_by: str
    asked_at: datetime | None
    ended_at: datetime | None
    queries: int
    answered: int
    failed: int
    sources: int
    origins: int
    cost_usd: float | None
    calls: int
    deadline: datetime | None
    digest: str
    quorum: int
    voted: int
    reason: str

    def is_urgent(self, now: datetime) -> bool:
        """Return True if less than 30 minutes are left to decide."""
        return self.deadline is not None and self.deadline - now < _SOON


def run_row(run: Run) -> RunRow:
    """The run as a row; question and reason are cut to 1,000 characters."""
    accepted, findings, usage = run.accepted, run.findings(), run.usage()
    sources = [source for finding in findings for source in finding.sources]
    hold = run.current.hold
    return RunRow(
        run_id=run.id,
        place=accepted.seq if accepted else run.seq,
        seq=run.seq,
        status=run.status,
        q=accepted.fact.q[:_MAX_TEXT] if accepted else "",
        asked_by=accepted.fact.requested_by if accepted else "",
        asked_at=accepted.at if accepted else None,
        ended_at=run.completed.at if run.completed else None,
        queries=sum(len(run.queries(number)) for number in run.rounds),
        answered=sum(bool(finding.sources) for finding in findings),
        failed=sum(not finding.sources for finding in findings),
        sources=len({source.sha256 for source in sources}),
        origins=count_origins(sources),
        cost_usd=usage.cost_usd,
        calls=usage.calls,
        deadline=decision_deadline(run),
        digest=hold.fact.digest if hold else "",
        quorum=hold.fact.quorum if hold else 1,
        voted=len(valid_votes(run.current)),
        reason=_reason(run)[:_MAX_TEXT],
    )


def _reason(run: Run) -> str:
    """Reason of its end, else of being parked, else empty."""
    if run.completed:
        return run.completed.fact.reason
    return run.unknown.fact if run.unknown else ""
