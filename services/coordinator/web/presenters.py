"""Template variables of a run's page. Pure."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from services.coordinator.engine.summary import run_row
from services.coordinator.http.presenters import run_view
from services.coordinator.http.reports import published_report
from services.coordinator.web.details import step_details
from services.coordinator.web.record import decision_record
from services.coordinator.web.timeline import timeline_bars, timeline_lines
from services.coordinator.web.wording import money
from shared.api.schemas import FindingView, PassageView, SourceView
from shared.contracts.evidence import Report, Usage
from shared.contracts.markdown import byline
from shared.domain.approval import ApprovalRules, approval_objection, describe_deciders
from shared.domain.budget import cost_limit, over_budget
from shared.domain.owed import decided_findings
from shared.domain.roles import Principal
from shared.domain.run import Run


class DecisionChoices(Struct, frozen=True):
    """Decisions that a person can make on a hold. `objection` is the reason why their approval would not count."""

    queries: tuple[str, ...]
    revises: bool
    estimate: str
    over_budget: bool
    max_cost_usd: float | None
    objection: str
    votes: str
    deciders: str
    sources: frozenset[str]
    unticked: frozenset[str] = frozenset()
    """Sources that somebody has left out on this page already, in a decision that was not taken."""

    def keeps(self, sha256: str) -> bool:
        """Return True if the source is ticked, so that the writer gets it."""
        return sha256 not in self.unticked

    @property
    def kept(self) -> int:
        """Number of sources that are ticked."""
        return len(self.sources - self.unticked)


class ShownSource(Struct, frozen=True):
    """A source of a sub-query, with its passages that no earlier sub-query showed (`is_above`: some are left out)."""

    source: SourceView
    passages: tuple[PassageView, ...]
    is_above: bool


class AgentCost(Struct, frozen=True):
    """Usage of one agent with one model."""

    who: str
    usage: Usage


def run_context(
    run: Run, now: datetime, who: Principal, rules: ApprovalRules, *, rounds: int, kept: frozenset[str] | None = None
) -> dict[str, Any]:
    """Template variables of a run's page for `who`. `kept` are the sources ticked in a form that was refused; None for
    all.
    """
    drawn, published = timeline_lines(run), published_report(run)
    return {
        "row": run_row(run),
        "round": run.round,
        "findings": shown_findings(run),
        "choice": decision_choices(run, who, rules, rounds, kept) if run.status == "hold" else None,
        "said": decision_record(run),
        "spent": costs_by_agent(run),
        "usage": run.usage(),
        "limit": cost_limit(run),
        "lines": drawn,
        "bars": timeline_bars(drawn, run, now),
        "details": step_details(run),
        "fork_of": run.accepted.fact.fork if run.accepted else None,
        **(report_context(published.report) if published else {"report": None}),
    }


def report_context(report: Report) -> dict[str, Any]:
    """Template variables of a report: itself, its sources' numbers by SHA-256, and the line below its title."""
    numbers = {source.sha256: source.n for source in report.sources}
    return {"report": report, "numbers": numbers, "byline": byline(report, plain=str)}


def shown_findings(run: Run) -> list[tuple[FindingView, list[ShownSource]]]:
    """Findings with their sources. A passage that several sub-queries brought is shown once, at the first."""
    seen: set[tuple[str, int, str]] = set()
    return [(finding, [_found(source, seen) for source in finding.sources]) for finding in run_view(run).findings]


def _found(source: SourceView, seen: set[tuple[str, int, str]]) -> ShownSource:
    """The source without the passages in `seen`, to which its own are added."""
    places = [(source.sha256, passage.start, passage.text) for passage in source.passages]
    fresh = tuple(passage for passage, place in zip(source.passages, places, strict=True) if place not in seen)
    seen.update(places)
    return ShownSource(source, fresh, is_above=len(fresh) < len(places))


def decision_choices(
    run: Run, who: Principal, rules: ApprovalRules, rounds: int, kept: frozenset[str] | None
) -> DecisionChoices:
    """Choices of `who` on the run's hold. Raises `AssertionError` without one."""
    hold = run.current.hold
    assert hold
    why = approval_objection(run, who.name, who.auth, rules)
    sources = frozenset(source.sha256 for finding in decided_findings(run) for source in finding.sources)
    cast = ", ".join(
        one.by for one in decision_record(run) if one.word == "voted to approve" and one.round == run.round
    )
    return DecisionChoices(
        queries=tuple(
            dict.fromkeys(
                finding.query for number, finding in run.findings_by_round() if finding.query not in run.dropped(number)
            )
        ),
        revises=run.round < rounds,
        estimate=_estimate(run),
        over_budget=over_budget(run),
        max_cost_usd=cost_limit(run),
        objection=why[1] if why else "",
        votes=cast,
        deciders=describe_deciders(run) if hold.fact.quorum > 1 or hold.fact.four_eyes else "",
        sources=sources,
        unticked=sources - kept if kept is not None else frozenset(),
    )


def _estimate(run: Run) -> str:
    """Sentence on the cost of the report; empty without a hold or a model that writes."""
    about = run.current.hold.fact.estimate if run.current.hold else None
    if about is None:
        return ""
    if about.cost_usd is None:
        return f"{about.model} writes the report; its price is not known."
    return f"{about.model} writes the report, for {money(about.cost_usd)} at most."


def costs_by_agent(run: Run) -> list[AgentCost]:
    """Usage of each agent, by model."""
    by = run.usage_by(lambda call: f"{call.agent} · {call.model}")
    return [AgentCost(who, usage) for who, usage in by.items()]
