"""What a run is owed: the facts that should exist and do not, and when to look again.

`owed` reads only what is recorded, never what is about to be. So it may be asked at any time, after any crash,
by any number of coordinators: whatever is missing is named again, and the boxes refuse what is not.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from shared.contracts.evidence import Citation, Failure, Finding, Passage, Report
from shared.contracts.facts import (
    DecisionApproved,
    DecisionExpired,
    DecisionRejected,
    DecisionRevised,
    Fact,
    Forked,
    HoldOpened,
    Outcome,
    PlanFailed,
    PlanMade,
    RunAccepted,
    RunCompleted,
    SynthesisFailed,
    SynthesisWritten,
    TaskIssued,
)
from shared.contracts.markdown import markdown
from shared.contracts.subjects import Slot, Step
from shared.contracts.tasks import FetchTask, PlanTask, SynthesizeTask, Task
from shared.domain.approval import ANY_APPROVAL, ApprovalRules, quorum_decision
from shared.domain.budget import (
    WriterPricing,
    decided_by_policy,
    estimate,
    remaining_budget,
    with_usage,
    writing_budget,
)
from shared.domain.fork import FactCopy, pending_copies, pending_plan
from shared.domain.run import Round, Run, digest
from shared.domain.steps import step_state


class Owed(Struct, frozen=True):
    """Facts to write, the earliest moment at which time alone will add to them, and facts of another run to copy."""

    facts: tuple[tuple[Slot, Fact], ...] = ()
    wake_at: datetime | None = None
    copies: tuple[FactCopy, ...] = ()

    def __bool__(self) -> bool:
        """Whether anything is to be written."""
        return bool(self.facts or self.copies)


NOTHING: Final = Owed()


def owed(run: Run, now: datetime, writer: WriterPricing | None = None, rules: ApprovalRules = ANY_APPROVAL) -> Owed:
    """What `run` is owed at `now`, a moment up to which the log has been folded. `writer` prices its report.

    `rules` are what a hold that opens now demands. It records them, so that a replay under others decides the same.
    """
    if run.accepted is None or run.completed or run.unknown:
        return NOTHING
    due = _owed_in(run, run.accepted.fact, run.round, now)
    if not due.facts:
        return due
    due = replace(due, facts=tuple((slot, _demanding(fact, rules)) for slot, fact in due.facts))
    return _priced(due, run, writer) if writer else due


def _demanding(fact: Fact, rules: ApprovalRules) -> Fact:
    return replace(fact, quorum=rules.quorum, four_eyes=rules.four_eyes) if isinstance(fact, HoldOpened) else fact


def _owed_in(run: Run, request: RunAccepted, number: int, now: datetime) -> Owed:
    round_ = run.in_round(number)
    match round_.decision.fact if round_.decision else None:
        case DecisionRejected(by=by, comment=comment, digest=decided, auth=auth):
            return _completed(run, "rejected", comment or f"Rejected by {by}.", decided=decided, by=by, auth=auth)
        case DecisionExpired(digest=decided):
            return _completed(run, "expired", "Nobody decided in time.", decided=decided)
        case _:
            return _research(run, request, number, round_, now)


def _research(run: Run, request: RunAccepted, number: int, round_: Round, now: datetime) -> Owed:
    """Plan, then fetch, then what comes of the evidence; in a fork, before all, what it takes from another run."""
    if request.fork and number == 1 and (reused := _reused(run, request.fork)):
        return reused
    match round_.plan.fact if round_.plan else None:
        case None:
            return _step(round_, Step(run.id, "plan", number), lambda: plan_task(run, request, number), now)
        case PlanFailed(error=error) if number == 1:
            return _completed(run, "failed", f"No plan could be made: {error.message}")
        case PlanMade() | PlanFailed():
            missing = [
                _step(round_, Step(run.id, "fetch", number, index), partial(FetchTask, query, request.tools), now)
                for index, query in enumerate(run.queries(number))
                if index not in round_.fetches
            ]
            return _together(missing) if missing else _hold(run, request, number, round_, now)


def _reused(run: Run, fork: Forked) -> Owed:
    plan = pending_plan(run, fork)
    return Owed((plan,) if plan else (), copies=pending_copies(run, fork))


def _hold(run: Run, request: RunAccepted, number: int, round_: Round, now: datetime) -> Owed:
    """Everything is fetched: hold it for a decision."""
    if round_.hold is None:
        return _open_hold(run, request, number, now)
    hold = round_.hold.fact
    if round_.decision:
        return _synthesize(run, request, number, round_, hold, now)
    slot = Slot(run.id, "decision", number)
    if hold.quorum > 1 and (decision := quorum_decision(run, number, hold, decided_findings(run))):
        return Owed(((slot, decision),))
    if decided_by_policy(run):
        fact = DecisionApproved(by="auto", via="policy", comment="Asked for with the request.", digest=hold.digest)
        return Owed(((slot, fact),))
    assert round_.deadline
    if now >= round_.deadline:
        return Owed(((slot, DecisionExpired(by="deadline", via="deadline", digest=hold.digest)),))
    return Owed(wake_at=round_.deadline)


def _open_hold(run: Run, request: RunAccepted, number: int, now: datetime) -> Owed:
    """Hold what there is. Only a first round that found nothing ends here; later, a reviewer may change course."""
    findings = run.findings()
    if number == 1 and not any(finding.sources for finding in findings):
        return _completed(run, "failed", _nothing_found(findings))
    deadline = now + timedelta(seconds=request.approval_timeout_s)
    hold = HoldOpened(digest=digest(run), deadline=deadline, spent_usd=run.usage().cost_usd or 0.0)
    return Owed(((Slot(run.id, "hold", number), hold),))


def _priced(due: Owed, run: Run, writer: WriterPricing) -> Owed:
    """The same, with what the report may cost on a hold that opens."""
    facts = [
        (slot, replace(fact, estimate=estimate(run, decided_findings(run), writer)))
        if isinstance(fact, HoldOpened)
        else (slot, fact)
        for slot, fact in due.facts
    ]
    return replace(due, facts=tuple(facts))


def _synthesize(run: Run, request: RunAccepted, number: int, round_: Round, hold: HoldOpened, now: datetime) -> Owed:
    """It is approved: have the report written, check it, and complete."""
    match round_.synthesis.fact if round_.synthesis else None:
        case None:
            step = Step(run.id, "synthesize", number)
            return _step(round_, step, lambda: _synthesize_task(run, request, hold), now)
        case SynthesisFailed(error=error):
            return _completed(run, "failed", f"No report could be written: {error.message}", decided=hold.digest)
        case SynthesisWritten(report=report):
            if stray := _beyond(report, decided_findings(run)):
                return _completed(run, "failed", stray, decided=hold.digest)
            return _reported(run, request, report, hold.digest)


def _synthesize_task(run: Run, request: RunAccepted, hold: HoldOpened) -> SynthesizeTask:
    return SynthesizeTask(request.q, hold.digest, decided_findings(run), writing_budget(run, hold))


def decided_findings(run: Run) -> tuple[Finding, ...]:
    """The evidence less every sub-query that a reviewer dropped and every source that one excluded.

    It is what the writer gets and may cite. Dropped are the findings up to that decision; asked again, they count.
    """
    ruled = [round_.decision.fact for round_ in run.rounds.values() if round_.decision]
    rulings = [ruling for ruling in ruled if isinstance(ruling, DecisionApproved | DecisionRevised)]
    excluded = {source for ruling in rulings for source in ruling.exclude}
    dropped = {number: run.dropped(number) for number in run.rounds}
    if not excluded and not any(dropped.values()):
        return run.findings()
    return tuple(
        replace(each, sources=tuple(source for source in each.sources if source.sha256 not in excluded))
        for number, each in run.found()
        if each.query not in dropped[number]
    )


def _beyond(report: Report, findings: tuple[Finding, ...]) -> str | None:
    """Why the report may not be published: the first thing in it that the decided evidence does not have."""
    passages: dict[str, list[Passage]] = {}
    for finding in findings:
        for source in finding.sources:
            passages.setdefault(source.sha256, []).extend(source.passages)
    listed = {source.sha256 for source in report.sources}
    if strays := [source for source in report.sources if source.sha256 not in passages]:
        return (
            f"The report lists the source {strays[0].title[:80]!r}, which is not in the evidence that was decided on."
        )
    for claim in (*report.claims(), *report.unsupported):
        if not claim.citations:
            return f"The report says {claim.text[:80]!r} and cites nothing for it."
    for citation in report.quoted():
        if citation.sha256 not in listed or not _stands_in(passages[citation.sha256], citation):
            return f"The report cites {citation.quote[:80]!r}, which is not in the evidence that was decided on."
    if not report.claims() and not report.insufficient:
        return "The report says nothing, and does not say that the evidence is too little."
    return None


def _stands_in(passages: list[Passage], citation: Citation) -> bool:
    return any(
        citation.start >= passage.start and passage.text.startswith(citation.quote, citation.start - passage.start)
        for passage in passages
    )


def plan_task(run: Run, request: RunAccepted, number: int) -> PlanTask:
    """The planning of a round: the question, what reviewers asked for, and what was asked before."""
    earlier = [run.in_round(before) for before in range(1, number)]
    feedback = [
        round_.decision.fact.feedback
        for round_ in earlier
        if round_.decision and isinstance(round_.decision.fact, DecisionRevised)
    ]
    asked = [query for before in range(1, number) for query in run.queries(before)]
    return PlanTask(request.q, tuple(feedback), (*asked, *run.added(number)), remaining_budget(run))


def _step(round_: Round, step: Step, task: Callable[[], Task], now: datetime) -> Owed:
    """The next attempt of a step without outcome, once it is due; nothing while an attempt is issued."""
    state = step_state(round_, step)
    if state.current.issued:
        return NOTHING
    if state.due and state.due > now:
        return Owed(wake_at=state.due)
    return Owed(((state.current.slot, TaskIssued(task=task(), failures=state.failures)),))


def _together(parts: list[Owed]) -> Owed:
    wakes = [part.wake_at for part in parts if part.wake_at]
    return Owed(tuple(fact for part in parts for fact in part.facts), min(wakes, default=None))


def _nothing_found(findings: tuple[Finding, ...]) -> str:
    failures = [finding.failure or Failure("empty", "nothing") for finding in findings]
    reasons = dict.fromkeys(failure.message for failure in failures)
    return f"Nothing was found for any of {len(findings)} sub-queries: {' '.join(reasons)}"[:4_000]


def _completed(
    run: Run, outcome: Outcome, reason: str, *, decided: str | None = None, by: str = "", auth: str = ""
) -> Owed:
    fact = RunCompleted(run_id=run.id, ok=False, outcome=outcome, reason=reason, digest=decided, by=by, auth=auth)
    return Owed(((Slot(run.id, "completed"), with_usage(fact, run)),))


def _reported(run: Run, request: RunAccepted, report: Report, decided: str) -> Owed:
    fact = RunCompleted(
        run_id=run.id,
        ok=True,
        outcome="reported",
        report=markdown(request.q, report),
        sources=report.sources,
        digest=decided,
    )
    return Owed(((Slot(run.id, "completed"), with_usage(fact, run)),))
