"""Facts that should exist in a run and do not, and when to look again. Pure.

`owed` reads recorded facts only. So any number of coordinators may ask at any time, also after a crash: what is missing
is returned again, and slots refuse what is not.
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
    """Facts to write, the earliest moment at which time alone adds to them, and facts to copy from another run."""

    facts: tuple[tuple[Slot, Fact], ...] = ()
    wake_at: datetime | None = None
    copies: tuple[FactCopy, ...] = ()

    def __bool__(self) -> bool:
        """Return True if anything is to be written."""
        return bool(self.facts or self.copies)


NOTHING: Final = Owed()


def owed(run: Run, now: datetime, writer: WriterPricing | None = None, rules: ApprovalRules = ANY_APPROVAL) -> Owed:
    """Facts that `run` is owed at `now`; none if it has ended, is parked, or is not accepted.

    The log must be folded up to `now`. `writer` prices the report of a hold that opens. `rules` are its demands on
    approvals; the hold records them, so that a replay under other rules decides the same.
    """
    if run.accepted is None or run.completed or run.unknown:
        return NOTHING
    due = _owed_in_round(run, run.accepted.fact, run.round, now)
    if not due.facts:
        return due
    due = replace(due, facts=tuple((slot, _with_rules(fact, rules)) for slot, fact in due.facts))
    return _priced(due, run, writer) if writer else due


def _with_rules(fact: Fact, rules: ApprovalRules) -> Fact:
    """The fact; a hold with the quorum and four-eyes rule of `rules`."""
    return replace(fact, quorum=rules.quorum, four_eyes=rules.four_eyes) if isinstance(fact, HoldOpened) else fact


def _owed_in_round(run: Run, request: RunAccepted, number: int, now: datetime) -> Owed:
    """Facts owed in the run's current round: its end after a rejection or expiry, else research."""
    round_ = run.in_round(number)
    match round_.decision.fact if round_.decision else None:
        case DecisionRejected(by=by, comment=comment, digest=decided, auth=auth):
            return _completed(run, "rejected", comment or f"Rejected by {by}.", decided=decided, by=by, auth=auth)
        case DecisionExpired(digest=decided):
            return _completed(run, "expired", "The time to decide is over.", decided=decided)
        case _:
            return _research(run, request, number, round_, now)


def _research(run: Run, request: RunAccepted, number: int, round_: Round, now: datetime) -> Owed:
    """The next plan or fetches, else the consequence of the evidence; in a fork first the facts that it copies.

    A first plan that failed ends the run; a later one leaves the sub-queries that a reviewer added.
    """
    if request.fork and number == 1 and (reused := _owed_copies(run, request.fork)):
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
            return _combine(missing) if missing else _hold(run, request, number, round_, now)


def _owed_copies(run: Run, fork: Forked) -> Owed:
    """Facts that a fork still lacks from its source: its own plan if it has edited sub-queries, and copies."""
    plan = pending_plan(run, fork)
    return Owed((plan,) if plan else (), copies=pending_copies(run, fork))


def _hold(run: Run, request: RunAccepted, number: int, round_: Round, now: datetime) -> Owed:
    """Consequence of a round whose sub-queries are all fetched.

    That is a hold; then a decision by quorum, policy or deadline; after a decision, writing. Until the deadline it is
    nothing.
    """
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
    """A hold on all findings so far. A first round without any source completes the run as failed instead."""
    findings = run.findings()
    if number == 1 and not any(finding.sources for finding in findings):
        return _completed(run, "failed", _describe_empty(findings))
    deadline = now + timedelta(seconds=request.approval_timeout_s)
    hold = HoldOpened(digest=digest(run), deadline=deadline, spent_usd=run.usage().cost_usd or 0.0)
    return Owed(((Slot(run.id, "hold", number), hold),))


def _priced(due: Owed, run: Run, writer: WriterPricing) -> Owed:
    """The same, with the estimate of the report on a hold that opens."""
    facts = [
        (slot, replace(fact, estimate=estimate(run, decided_findings(run), writer)))
        if isinstance(fact, HoldOpened)
        else (slot, fact)
        for slot, fact in due.facts
    ]
    return replace(due, facts=tuple(facts))


def _synthesize(run: Run, request: RunAccepted, number: int, round_: Round, hold: HoldOpened, now: datetime) -> Owed:
    """After approval: the task to write, then the completion.

    A report that breaks the rules of evidence fails the run.
    """
    match round_.synthesis.fact if round_.synthesis else None:
        case None:
            step = Step(run.id, "synthesize", number)
            return _step(round_, step, lambda: _synthesize_task(run, request, hold), now)
        case SynthesisFailed(error=error):
            return _completed(run, "failed", f"No report could be written: {error.message}", decided=hold.digest)
        case SynthesisWritten(report=report):
            if stray := _find_violation(report, decided_findings(run)):
                return _completed(run, "failed", stray, decided=hold.digest)
            return _reported(run, request, report, hold.digest)


def _synthesize_task(run: Run, request: RunAccepted, hold: HoldOpened) -> SynthesizeTask:
    """The task to write the report from the decided findings, with its budget."""
    return SynthesizeTask(request.q, hold.digest, decided_findings(run), writing_budget(run, hold))


def decided_findings(run: Run) -> tuple[Finding, ...]:
    """Evidence for the writer: findings without dropped sub-queries and without excluded sources.

    A sub-query is dropped with its findings up to that decision; asked again later, it counts.
    """
    ruled = [round_.decision.fact for round_ in run.rounds.values() if round_.decision]
    rulings = [ruling for ruling in ruled if isinstance(ruling, DecisionApproved | DecisionRevised)]
    excluded = {source for ruling in rulings for source in ruling.exclude}
    dropped = {number: run.dropped(number) for number in run.rounds}
    if not excluded and not any(dropped.values()):
        return run.findings()
    return tuple(
        replace(each, sources=tuple(source for source in each.sources if source.sha256 not in excluded))
        for number, each in run.findings_by_round()
        if each.query not in dropped[number]
    )


def _find_violation(report: Report, findings: tuple[Finding, ...]) -> str | None:
    """Sentence about the first thing in a report that the decided evidence does not support, or `None`.

    A report may list only sources of `findings`; each claim needs a citation, and each citation a quote at its place in
    a listed source. Without claims it has to state that the evidence is insufficient.
    """
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
            return f"The report claims {claim.text[:80]!r} without a citation."
    for citation in report.quoted():
        if citation.sha256 not in listed or not _is_quoted(passages[citation.sha256], citation):
            return f"The report cites {citation.quote[:80]!r}, which is not in the evidence that was decided on."
    if not report.claims() and not report.insufficient:
        return "The report has no claims and does not state that the evidence is insufficient."
    return None


def _is_quoted(passages: list[Passage], citation: Citation) -> bool:
    """Return True if a passage has the citation's quote at the citation's offset."""
    return any(
        citation.start >= passage.start and passage.text.startswith(citation.quote, citation.start - passage.start)
        for passage in passages
    )


def plan_task(run: Run, request: RunAccepted, number: int) -> PlanTask:
    """The task to plan a round.

    It has the question, the feedback of earlier revisions, the sub-queries asked before or added by a reviewer, and the
    remaining budget.
    """
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


def _combine(parts: list[Owed]) -> Owed:
    """All facts of `parts`, and their earliest wake-up."""
    wakes = [part.wake_at for part in parts if part.wake_at]
    return Owed(tuple(fact for part in parts for fact in part.facts), min(wakes, default=None))


def _describe_empty(findings: tuple[Finding, ...]) -> str:
    """Reason for completing a run that found nothing: each distinct failure once, at most 4,000 characters."""
    failures = [finding.failure or Failure("empty", "nothing") for finding in findings]
    reasons = dict.fromkeys(failure.message for failure in failures)
    return f"Nothing was found for any of {len(findings)} sub-queries: {' '.join(reasons)}"[:4_000]


def _completed(
    run: Run, outcome: Outcome, reason: str, *, decided: str | None = None, by: str = "", auth: str = ""
) -> Owed:
    """Completion of the run with an outcome other than `reported`, with its usage.

    `decided` is the digest decided on.
    """
    fact = RunCompleted(run_id=run.id, ok=False, outcome=outcome, reason=reason, digest=decided, by=by, auth=auth)
    return Owed(((Slot(run.id, "completed"), with_usage(fact, run)),))


def _reported(run: Run, request: RunAccepted, report: Report, decided: str) -> Owed:
    """Completion of the run with its report as Markdown, its sources and its usage."""
    fact = RunCompleted(
        run_id=run.id,
        ok=True,
        outcome="reported",
        report=markdown(request.q, report),
        sources=report.sources,
        digest=decided,
    )
    return Owed(((Slot(run.id, "completed"), with_usage(fact, run)),))
