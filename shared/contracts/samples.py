"""One example run, message by message, for the generated reference."""

from datetime import UTC, datetime, timedelta
from typing import Final

from shared.contracts.deliveries import Delivery, DeliveryAsked, DeliveryTried, Record, WebhookData
from shared.contracts.envelope import Event
from shared.contracts.evidence import Citation, CitedSource, Claim, Failure, Passage, Report, Section, Source, Usage
from shared.contracts.facts import (
    DecisionApproved,
    Fact,
    FetchFailed,
    FetchFound,
    HoldOpened,
    PlanMade,
    RequestRefused,
    RunAccepted,
    RunCompleted,
    SynthesisWritten,
    TaskIssued,
)
from shared.contracts.markdown import markdown
from shared.contracts.requests import Request, Ruling
from shared.contracts.subjects import Slot, Step
from shared.contracts.tasks import PlanTask

RUN: Final = "backups-2026"
AT: Final = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TRACE: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
QUESTION: Final = "What did we promise about backups?"
DIGEST: Final = "9f2c" * 16
_TEXT: Final = "Backups are taken every night and kept for 90 days."
_SHA256: Final = "5b1e" * 16
_USAGE: Final = Usage(calls=1, input_tokens=812, output_tokens=96, cost_usd=0.0004)
_REPORT: Final = Report(
    sections=(Section("", (Claim(_TEXT, (Citation(_SHA256, _TEXT, 120),)),)),),
    sources=(CitedSource(1, _SHA256, "Operations handbook", "handbook/backups.md"),),
    writer="gpt-4o",
    gaps=("Who restores them",),
)
_ENDED: Final = RunCompleted(
    run_id=RUN,
    ok=True,
    outcome="reported",
    report=markdown(QUESTION, _REPORT),
    sources=_REPORT.sources,
    usage=_USAGE.plus(_USAGE),
    digest=DIGEST,
)
_FOUND: Final = FetchFound(
    query="How often backups are taken",
    sources=(Source(_SHA256, "Operations handbook", "handbook/backups.md", "docs", (Passage(_TEXT, 120),)),),
)
_NOT_FOUND: Final = FetchFailed(
    query="Who restores them", error=Failure("nothing_found", "Nothing was found for “Who restores them” with docs.")
)

FACTS: Final[tuple[tuple[Slot, Fact], ...]] = (
    (
        Slot(RUN, "accepted"),
        RunAccepted(
            q=QUESTION,
            request_seq=41,
            request_sha256="c0de" * 16,
            approval="required",
            approval_timeout_s=7_200.0,
            requested_by="ann",
        ),
    ),
    (Step(RUN, "plan", 1).task(1), TaskIssued(task=PlanTask(QUESTION))),
    (
        Slot(RUN, "plan", 1),
        PlanMade(
            queries=("How often backups are taken", "Who restores them"),
            planner="gpt-4o-mini",
            usage=_USAGE,
        ),
    ),
    (Slot(RUN, "fetch", 1, 0), _FOUND),
    (Slot(RUN, "fetch", 1, 1), _NOT_FOUND),
    (Slot(RUN, "hold", 1), HoldOpened(digest=DIGEST, deadline=AT + timedelta(hours=2))),
    (
        Slot(RUN, "decision", 1),
        DecisionApproved(by="bob", via="api", comment="Good enough.", digest=DIGEST),
    ),
    (Slot(RUN, "synthesis", 1), SynthesisWritten(digest=DIGEST, report=_REPORT, usage=_USAGE)),
    (Slot(RUN, "completed"), _ENDED),
)
"""In the order in which they were stored, from sequence 42 on, a second apart."""
FIRST_SEQ: Final = 42

REQUEST: Final = Request(q=QUESTION, run_id=RUN, approval_timeout="2h", requested_by="ann")
RULING: Final = Ruling(run_id=RUN, by="bob", comment="Good enough.", digest=DIGEST)
REFUSED: Final = RequestRefused(
    seq=40,
    subject="research.requested",
    run_id=None,
    field="approval_timeout",
    error=Failure("invalid_field", "approval_timeout: 'soon' is no duration; write it as in 90s, 30m, 2h or 14d."),
)
DELIVERY: Final = Delivery("ops", RUN, "hold-1")
TOLD: Final = WebhookData(
    run_id=RUN, q=QUESTION, requested_by="ann", round=1, deadline=AT + timedelta(hours=2), digest=DIGEST
)
ENDED: Final = WebhookData(run_id=RUN, q=QUESTION, requested_by="ann", digest=DIGEST, outcome="reported", ok=True)
ASKED: Final = DeliveryAsked(told=TOLD, happened_at=AT, due=AT, fact_seq=47)
TRIED: Final = DeliveryTried(
    result="failed",
    status=502,
    error=Failure("not_taken", "The endpoint answered 502."),
    duration_s=0.214,
    due=AT + timedelta(seconds=5),
)
RECORDS: Final[tuple[tuple[str, Record], ...]] = ((DELIVERY.asked(1), ASKED), (DELIVERY.tried(1, 1), TRIED))


def event(fact: Fact, index: int) -> Event:
    """The event of `fact` at position `index` of `FACTS`: one second apart from its neighbours."""
    return Event(fact, "dossier/example", AT + timedelta(seconds=index), TRACE)
