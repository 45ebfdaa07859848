"""A run as the HTTP API shows it: in a list, and in full."""

from typing import Final

from shared.api.costs import estimate_view, usage_view
from shared.api.schemas import (
    DecisionView,
    ExtensionView,
    FindingView,
    ForkView,
    LateView,
    PassageView,
    RunSummary,
    RunView,
    SkippedView,
    SourceView,
    VoteView,
)
from shared.contracts.evidence import Finding, Source
from shared.contracts.facts import (
    DecisionApproved,
    DecisionExpired,
    DecisionRejected,
    DecisionRevised,
    HoldExtended,
    VoteCast,
)
from shared.domain.approval import valid_votes
from shared.domain.budget import cost_limit, over_budget
from shared.domain.origins import count_origins
from shared.domain.owed import decided_findings
from shared.domain.run import Entry, Run
from shared.domain.steps import Lateness


def summary(run: Run, late: Lateness | None = None) -> RunSummary:
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
        deadline=run.current.deadline,
        digest=hold.fact.digest if hold else None,
        queries=sum(len(run.queries(number)) for number in run.rounds),
        answered=sum(bool(finding.sources) for finding in findings),
        failed=sum(not finding.sources for finding in findings),
        sources=len({source.sha256 for finding in findings for source in finding.sources}),
        origins=count_origins(source for finding in findings for source in finding.sources),
        sequence=run.seq,
        late=LateView(code=late.code, since=late.since, reason=late.text) if late else None,
    )


def view(run: Run, late: Lateness | None = None) -> RunView:
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
        votes=[_vote(vote) for vote in valid_votes(run.current)],
        extensions=[_extension(box) for box in run.current.valid_extensions()],
        outcome=ended.outcome if ended else None,
        ok=ended.ok if ended else None,
        reason=ended.reason if ended else "",
        completed_at=run.completed.at if run.completed else None,
        parked=run.unknown.fact if run.unknown else None,
        fork=ForkView(run_id=fork.run_id, step=fork.step, reused=len(fork.reuses)) if fork else None,
        usage=usage_view(run.usage()),
        agents={name: usage_view(usage) for name, usage in run.usage_by(lambda call: call.agent).items()},
        models={name: usage_view(usage) for name, usage in run.usage_by(lambda call: call.model).items()},
        max_cost_usd=cost_limit(run),
        estimate=estimate_view(run),
        over_budget=over_budget(run),
    )


def _findings(run: Run) -> list[FindingView]:
    kept = {source.sha256 for finding in decided_findings(run) for source in finding.sources}
    return [
        _finding(finding, kept, round_=number, is_dropped=finding.query in run.dropped(number))
        for number, finding in run.findings_by_round()
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


def _vote(box: Entry[VoteCast]) -> VoteView:
    vote = box.fact
    return VoteView(
        by=vote.by, via=vote.via, auth=vote.auth, comment=vote.comment, exclude=list(vote.exclude), at=box.at
    )


def _extension(box: Entry[HoldExtended]) -> ExtensionView:
    fact = box.fact
    return ExtensionView(deadline=fact.deadline, by=fact.by, auth=fact.auth, comment=fact.comment, at=box.at)
