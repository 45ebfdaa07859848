"""Reports of runs that are completed."""

from msgspec import Struct

from services.coordinator.http.problems import ProblemError
from shared.contracts.evidence import Report
from shared.contracts.facts import RunCompleted, SynthesisWritten
from shared.domain.run import Run
from shared.runtime.log import Evidence


class PublishedReport(Struct, frozen=True):
    """A published report: as Markdown and claim by claim, and the digest of the evidence that it rests on."""

    run_id: str
    digest: str
    report: Report
    markdown: str


def published_report(run: Run) -> SynthesisWritten | None:
    """The report that was published for a run; None if it failed, was rejected or has not ended."""
    fact = run.current.synthesis.fact if run.current.synthesis else None
    return fact if run.completed and run.completed.fact.ok and isinstance(fact, SynthesisWritten) else None


async def read_report(run: Run, evidence: Evidence) -> PublishedReport:
    """The published report with its Markdown. Raises `ProblemError`: `no_report` if the run has none, `report_missing`
    if its text is not in `EVIDENCE`.
    """
    fact, ended = published_report(run), run.completed.fact if run.completed else None
    if fact is None or ended is None:
        text = f"Run {run.id} has no report: {ended.reason if ended else run.status}"
        raise ProblemError("no_report", text, run_id=run.id, state=run.status)
    return PublishedReport(run.id, fact.digest, fact.report, ended.report or await _kept(ended, evidence))


async def _kept(ended: RunCompleted, evidence: Evidence) -> str:
    """Markdown of a report that was too large for its message. Raises `ProblemError` (`report_missing`)."""
    kept = await evidence.get(ended.report_sha256) if ended.report_sha256 else None
    if kept is None:
        text = f"The report is the text {ended.report_sha256}, which EVIDENCE does not have undamaged."
        raise ProblemError("report_missing", text, run_id=ended.run_id)
    return kept
