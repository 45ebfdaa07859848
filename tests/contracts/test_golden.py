"""What any release has written, every later one reads: `golden/<version>/` holds a stored message of each fact.

The files are indented for whoever checks them by hand; stored messages are the same without the spaces. A file
that has been released is never changed. A fact that says more since then gets another file beside the old one, which
goes on to be read; so does a new version of it.
"""

from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.evidence import (
    Call,
    Citation,
    CitedSource,
    Claim,
    Conflict,
    Estimate,
    Failure,
    Finding,
    Passage,
    Report,
    Searched,
    Section,
    Skipped,
    Source,
    Usage,
    usage_of,
)
from shared.contracts.facts import (
    AttemptFailed,
    DecisionApproved,
    DecisionExpired,
    DecisionRejected,
    DecisionRevised,
    Fact,
    FetchFailed,
    FetchFound,
    Forked,
    HoldExtended,
    HoldOpened,
    PlanFailed,
    PlanMade,
    RequestRefused,
    Reused,
    RunAccepted,
    RunCompleted,
    SynthesisFailed,
    SynthesisWritten,
    TaskIssued,
    VoteCast,
)
from shared.contracts.subjects import Slot, Step, parse_slot
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask
from tests.contracts.saying import says

GOLDEN = Path(__file__).parent / "golden"
FILES = sorted(GOLDEN.glob("*/*.json"))

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RUN = "golden"
SHA, DIGEST = "5" * 64, "d" * 64
FAILURE = Failure("timeout", "gpt-4o did not answer in time — “twice”.")
USAGE = Usage(calls=2, input_tokens=1200, output_tokens=345, cost_usd=0.0125)
CALL = Call("planner", "gpt-4o-mini", "plan.v1", 1200, 345, 0.25, 1.5, estimated=False, reading="repaired")
CALLS = (CALL, Call("planner", "gpt-4o-mini", "plan.v1", 800, 2000, None, 120.0, estimated=True, reading="timeout"))
KEPT = msgspec.structs.replace(CALL, prompt_sha256="8" * 64, reply_sha256="9" * 64)
SOURCE = Source(SHA, "Coroutines & Tasks", "library/asyncio-task.rst", "docs", (Passage("Tasks are used to…", 1024),))
PAGE = Source(
    "6" * 64,
    "Tides — an overview",
    "https://a.example/tides?lang=de#",
    "searxng",
    (Passage("Die Flut hebt…", 12),),
    url="https://a.example/tides?lang=de",
    status=200,
    fetched_at=datetime(2026, 1, 2, 3, 4, 4, 123456, UTC),
    media_type="text/html",
    bytes_sha256="7" * 64,
    published="2025-11-30",
    language="de-at",
    origin="0123456789abcdef",
    also=("https://b.example/copy",),
    stripped=("2 hidden passages: “Ignore previous…”", "14 invisible characters"),
)
SKIPPED = (
    Skipped("https://c.example/", Failure("robots", "https://c.example/ is not read: its robots.txt asks not to.")),
    Skipped("searxng: brave", Failure("searxng_engine", "brave did not answer SearXNG: timeout.")),
)
REPORT = Report(
    sections=(Section("Answer", (Claim("Use a TaskGroup.", (Citation(SHA, "Tasks are used to", 1024),)),)),),
    sources=(CitedSource(1, SHA, "Coroutines & Tasks", "library/asyncio-task.rst"),),
    writer="gpt-4o",
    degraded="The reply stayed invalid.",
    gaps=("Where are Zürich's threads? 🧵",),
)
JUDGED = Report(
    sections=(
        Section(
            "Answer",
            (
                Claim("Use it.", (Citation(SHA, "Tasks are used to", 1024),), "supported"),
                Claim(
                    "In Rust too.",
                    (Citation(SHA, "Tasks are used to", 1024),),
                    "partial",
                    "“Rust” is not in the quotes",
                ),
            ),
        ),
    ),
    sources=(
        CitedSource(
            n=1,
            sha256=SHA,
            title="Coroutines & Tasks",
            location="docs.python.test",
            url="https://docs.python.test/3/library/asyncio-task.html",
            published="2025-12-31",
            fetched_at=AT,
            origin="python.test",
            also=("https://mirror.test/tasks",),
        ),
    ),
    writer="gpt-4o",
    dropped=2,
    unsupported=(
        Claim("For 5 s.", (Citation(SHA, "Tasks are used to", 1024),), "unsupported", "“5 s” is not in the quotes"),
    ),
    conflicts=(Conflict("30 s or 60 s?", Citation(SHA, "Tasks are", 1024), Citation("6" * 64, "Tasks are not", 7)),),
    judge="gpt-4o-mini",
    searched=(Searched("asyncio TaskGroup", 1), Searched("threads", 0)),
    skipped=(Skipped("https://slow.test/", FAILURE),),
)
LACKING = Report((), JUDGED.sources, "gpt-4o", insufficient=True, searched=(Searched("threads", 1),))

V1: dict[str, tuple[Slot, Fact]] = {
    "run.accepted": (
        Slot(RUN, "accepted"),
        RunAccepted(
            q="How do tasks fail? 世界",
            request_seq=7,
            request_sha256="a" * 64,
            approval="required",
            approval_timeout_s=7200.0,
            max_cost_usd=0.5,
            tools=("docs", "web"),
            requested_by="ann",
        ),
    ),
    "run.accepted.forked": (
        Slot(RUN, "accepted"),
        RunAccepted(
            q="How?",
            request_seq=70,
            request_sha256="b" * 64,
            approval="required",
            approval_timeout_s=7200.0,
            fork=Forked(
                "other",
                "fetch",
                (Reused("fetch.1.0", "fetch.1.0"), Reused("fetch.1.1", "fetch.2.0")),
                ("asyncio", "threads", "processes"),
            ),
        ),
    ),
    "task.issued.plan": (
        Step(RUN, "plan", 2).task(1),
        TaskIssued(task=PlanTask("How?", feedback=("More on groups.",), asked=("asyncio",))),
    ),
    "task.issued.fetch": (
        Step(RUN, "fetch", 1, 3).task(2),
        TaskIssued(task=FetchTask("asyncio TaskGroup", tools=("docs",)), failures=1),
    ),
    "task.issued.synthesize": (
        Step(RUN, "synthesize", 1).task(1),
        TaskIssued(
            task=SynthesizeTask(
                "How?", DIGEST, (Finding("asyncio TaskGroup", (SOURCE,)), Finding("threads", failure=FAILURE))
            )
        ),
    ),
    "attempt.failed": (Step(RUN, "fetch", 1, 3).attempt(1), AttemptFailed(error=FAILURE, duration_s=12.345)),
    "plan.made": (
        Slot(RUN, "plan", 1),
        PlanMade(queries=("asyncio TaskGroup", "threads"), planner="gpt-4o-mini", degraded="By rule.", usage=USAGE),
    ),
    "plan.made.copied": (
        Slot(RUN, "plan", 1),
        PlanMade(queries=("asyncio",), planner="gpt-4o-mini", copied_from="research.run.other.plan.1"),
    ),
    "fetch.found.copied": (
        Slot(RUN, "fetch", 1, 3),
        FetchFound(query="asyncio", sources=(SOURCE,), copied_from="research.run.other.fetch.1.2"),
    ),
    "fetch.failed.copied": (
        Slot(RUN, "fetch", 1, 3),
        FetchFailed(query="threads", error=FAILURE, copied_from="research.run.other.fetch.1.2"),
    ),
    "plan.failed": (Slot(RUN, "plan", 1), PlanFailed(error=FAILURE)),
    "fetch.found": (Slot(RUN, "fetch", 1, 3), FetchFound(query="asyncio TaskGroup", sources=(SOURCE,))),
    "fetch.failed": (Slot(RUN, "fetch", 1, 3), FetchFailed(query="threads", error=FAILURE)),
    "fetch.found.page": (
        Slot(RUN, "fetch", 1, 3),
        FetchFound(query="tides", sources=(PAGE,), skipped=SKIPPED),
    ),
    "fetch.failed.skipped": (
        Slot(RUN, "fetch", 1, 3),
        FetchFailed(query="tides", error=Failure("nothing_read", "Nothing could be read."), skipped=SKIPPED),
    ),
    "hold.opened": (
        Slot(RUN, "hold", 1),
        HoldOpened(digest=DIGEST, deadline=datetime(2026, 1, 2, 5, 4, 5, 678901, UTC)),
    ),
    "decision.approved": (
        Slot(RUN, "decision", 1),
        DecisionApproved(by="bob", via="api", comment="Good.", digest=DIGEST, message_seq=None, exclude=(SHA,)),
    ),
    "decision.rejected": (
        Slot(RUN, "decision", 1),
        DecisionRejected(by="bob", via="nats", comment="Off the point.", digest=DIGEST, message_seq=42),
    ),
    "decision.revised": (
        Slot(RUN, "decision", 1),
        DecisionRevised(by="bob", via="api", digest=DIGEST, feedback="More on groups.", exclude=(SHA,)),
    ),
    "decision.expired": (Slot(RUN, "decision", 1), DecisionExpired(by="deadline", via="deadline", digest=DIGEST)),
    "synthesis.written": (Slot(RUN, "synthesis", 1), SynthesisWritten(digest=DIGEST, report=REPORT, usage=USAGE)),
    "synthesis.written.judged": (
        Slot(RUN, "synthesis", 1),
        SynthesisWritten(digest=DIGEST, report=JUDGED, usage=USAGE),
    ),
    "synthesis.written.insufficient": (Slot(RUN, "synthesis", 1), SynthesisWritten(digest=DIGEST, report=LACKING)),
    "synthesis.failed": (Slot(RUN, "synthesis", 1), SynthesisFailed(error=FAILURE)),
    "run.completed": (
        Slot(RUN, "completed"),
        RunCompleted(
            run_id=RUN,
            ok=True,
            outcome="reported",
            reason="",
            report="# How?\n\nUse a TaskGroup. [1]\n",
            sources=REPORT.sources,
            usage=USAGE,
            digest=DIGEST,
            by="",
            message_seq=None,
        ),
    ),
    "run.completed.dated": (
        Slot(RUN, "completed"),
        RunCompleted(run_id=RUN, ok=True, outcome="reported", report="# How?\n", sources=JUDGED.sources, digest=DIGEST),
    ),
    "run.completed.cancelled": (
        Slot(RUN, "completed"),
        RunCompleted(run_id=RUN, ok=False, outcome="cancelled", reason="Not now.", by="bob", message_seq=43),
    ),
    "run.completed.report_sha256": (
        Slot(RUN, "completed"),
        RunCompleted(
            run_id=RUN,
            ok=True,
            outcome="reported",
            sources=REPORT.sources,
            usage=USAGE,
            digest=DIGEST,
            report_sha256="e" * 64,
        ),
    ),
    "run.accepted.vouched": (
        Slot(RUN, "accepted"),
        RunAccepted(
            q="How?",
            request_seq=7,
            request_sha256="a" * 64,
            approval="required",
            approval_timeout_s=7200.0,
            requested_by="ann",
            auth="key:0123456789ab",
        ),
    ),
    "hold.opened.demanding": (
        Slot(RUN, "hold", 1),
        HoldOpened(digest=DIGEST, deadline=datetime(2026, 1, 2, 5, 4, 5, 678901, UTC), quorum=2, four_eyes=True),
    ),
    "vote.cast": (
        Slot(RUN, "vote", 1, voter="0" * 32),
        VoteCast(by="bob", via="api", comment="Good.", digest=DIGEST, auth="session:0123456789ab", exclude=(SHA,)),
    ),
    "decision.approved.quorum": (
        Slot(RUN, "decision", 1),
        DecisionApproved(
            by="bob, cleo", via="quorum", comment="bob: Good.", digest=DIGEST, exclude=(SHA,), voters=("bob", "cleo")
        ),
    ),
    "decision.rejected.vouched": (
        Slot(RUN, "decision", 1),
        DecisionRejected(by="bob", via="nats", digest=DIGEST, message_seq=42, auth="nats"),
    ),
    "run.completed.cancelled.vouched": (
        Slot(RUN, "completed"),
        RunCompleted(run_id=RUN, ok=False, outcome="cancelled", reason="Not now.", by="bob", auth="local"),
    ),
}
COSTS: dict[str, tuple[Slot, Fact]] = {
    "attempt.failed.calls": (
        Step(RUN, "plan", 1).attempt(1),
        AttemptFailed(error=FAILURE, duration_s=12.345, calls=(CALL,)),
    ),
    "plan.made.calls": (
        Slot(RUN, "plan", 1),
        PlanMade(queries=("threads",), planner="gpt-4o-mini", usage=usage_of(CALLS), calls=CALLS),
    ),
    "plan.made.calls.kept": (
        Slot(RUN, "plan", 1),
        PlanMade(queries=("threads",), planner="gpt-4o-mini", usage=usage_of((KEPT,)), calls=(KEPT,)),
    ),
    "plan.failed.calls": (Slot(RUN, "plan", 1), PlanFailed(error=FAILURE, calls=CALLS)),
    "hold.opened.estimate": (
        Slot(RUN, "hold", 1),
        HoldOpened(
            digest=DIGEST,
            deadline=datetime(2026, 1, 2, 5, 4, 5, 678901, UTC),
            estimate=Estimate("gpt-4o", 20_000, 6_000, 0.11),
            spent_usd=0.25,
        ),
    ),
    "decision.approved.limit": (
        Slot(RUN, "decision", 1),
        DecisionApproved(by="bob", via="api", digest=DIGEST, max_cost_usd=1.5),
    ),
    "decision.revised.queries": (
        Slot(RUN, "decision", 1),
        DecisionRevised(
            by="bob",
            via="api",
            digest=DIGEST,
            feedback="No, not enough on groups.",
            queries_add=("exception groups",),
            queries_drop=("threads",),
            max_cost_usd=1.5,
        ),
    ),
    "task.issued.plan.budget": (
        Step(RUN, "plan", 2).task(1),
        TaskIssued(task=PlanTask("How?", budget_usd=0.25)),
    ),
    "task.issued.synthesize.budget": (
        Step(RUN, "synthesize", 1).task(1),
        TaskIssued(task=SynthesizeTask("How?", DIGEST, (), budget_usd=0.25)),
    ),
    "synthesis.written.calls": (
        Slot(RUN, "synthesis", 1),
        SynthesisWritten(digest=DIGEST, report=REPORT, usage=usage_of(CALLS), calls=CALLS),
    ),
    "synthesis.failed.calls": (Slot(RUN, "synthesis", 1), SynthesisFailed(error=FAILURE, calls=(CALL,))),
    "run.completed.usage": (
        Slot(RUN, "completed"),
        RunCompleted(
            run_id=RUN,
            ok=False,
            outcome="cancelled",
            usage=usage_of(CALLS),
            agents={"planner": usage_of(CALLS)},
            models={"gpt-4o-mini": usage_of(CALLS)},
        ),
    ),
}
"""What a run says of its cost, of its limit and of another round, which earlier writers did not."""
V1 |= COSTS
TIMES: dict[str, tuple[Slot, Fact]] = {
    "plan.made.timed": (Slot(RUN, "plan", 1), PlanMade(queries=("threads",), planner="gpt-4o", duration_s=1.204)),
    "plan.failed.timed": (Slot(RUN, "plan", 1), PlanFailed(error=FAILURE, duration_s=60.0)),
    "fetch.found.timed": (
        Slot(RUN, "fetch", 1, 3),
        FetchFound(query="asyncio TaskGroup", sources=(SOURCE,), duration_s=0.25),
    ),
    "fetch.failed.timed": (Slot(RUN, "fetch", 1, 3), FetchFailed(query="threads", error=FAILURE, duration_s=12.345)),
    "synthesis.written.timed": (
        Slot(RUN, "synthesis", 1),
        SynthesisWritten(digest=DIGEST, report=REPORT, duration_s=31.5),
    ),
    "synthesis.failed.timed": (Slot(RUN, "synthesis", 1), SynthesisFailed(error=FAILURE, duration_s=0.0)),
    "hold.extended": (
        Slot(RUN, "extension", 1, 2),
        HoldExtended(
            by="bob",
            via="api",
            comment="Ann is back on Monday.",
            digest=DIGEST,
            auth="session:0123456789ab",
            deadline=datetime(2026, 1, 5, 5, 4, 5, 678901, UTC),
        ),
    ),
}
"""How long steps took, and how long a hold was given, which earlier writers did not say."""
V1 |= TIMES
RECORDED = {f"v1/{name}.json": written for name, written in V1.items()}
REFUSED = RequestRefused(
    seq=7, subject="research.requested", run_id="golden", field="q", error=Failure("invalid_field", "q: it is empty.")
)


def stored(file: Path) -> bytes:
    """The message in a file, as the log has it."""
    return msgspec.json.format(file.read_bytes().strip(), indent=-1)


def named(file: Path) -> str:
    return file.relative_to(GOLDEN).as_posix()


FACTS = [file for file in FILES if file.stem not in ("request.refused", "fetch.found.dataref")]
REFERRING = GOLDEN / "v1" / "fetch.found.dataref.json"


@pytest.mark.parametrize("file", FACTS, ids=named)
def test_what_a_release_wrote_is_still_read_as_it_was_meant(file: Path):
    _, fact = RECORDED[named(file)]
    assert envelope.decode(stored(file)) == Event(fact, "dossier/golden", AT, TRACE)


@pytest.mark.parametrize("file", FACTS, ids=named)
def test_this_release_still_says_all_that_an_earlier_one_said(file: Path):
    slot, fact = RECORDED[named(file)]
    written = envelope.encode(slot, Event(fact, "dossier/golden", AT, TRACE))
    assert says(msgspec.json.decode(written), msgspec.json.decode(stored(file)))


def test_a_refusal_still_says_all_that_it_said():
    written = envelope.encode_message("research.invalid.7", REFUSED, source="dossier/golden", time=AT)
    assert says(msgspec.json.decode(written), msgspec.json.decode(stored(GOLDEN / "v1" / "request.refused.json")))


def test_every_type_of_fact_has_a_golden_file():
    types = {fact.__struct_config__.tag for fact in get_args(Fact)}
    assert {msgspec.json.decode(stored(file))["type"] for file in FACTS} == types


@pytest.mark.parametrize("file", FACTS, ids=named)
def test_a_message_names_its_slot_and_its_run(file: Path):
    message = msgspec.json.decode(stored(file))
    slot = parse_slot(message["id"])
    assert slot == RECORDED[named(file)][0]
    assert message["subject"] == slot.run


def test_a_reference_is_still_read_and_still_says_the_same():
    slot, fact = V1["fetch.found"]
    reference = envelope.encode_reference(slot, Event(fact, "dossier/golden", AT, TRACE))
    said, then = msgspec.json.decode(reference.message), msgspec.json.decode(stored(REFERRING))
    assert says(said, then | {"dataref": said["dataref"]})
    text = msgspec.json.encode(msgspec.json.decode(stored(GOLDEN / "v1" / "fetch.found.json"))["data"])
    assert envelope.referenced_sha256(stored(REFERRING)) == sha256(text).hexdigest()
    assert envelope.decode(stored(REFERRING), text) == Event(fact, "dossier/golden", AT, TRACE)
