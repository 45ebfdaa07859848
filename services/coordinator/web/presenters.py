"""A run as its page shows it. Pure."""

from datetime import datetime
from typing import Any

from msgspec import Struct

from services.coordinator.engine.summary import run_row
from services.coordinator.http.presenters import view
from services.coordinator.http.reports import written
from services.coordinator.web.details import details
from services.coordinator.web.record import said
from services.coordinator.web.timeline import bars, lines
from services.coordinator.web.wording import money
from shared.api.schemas import FindingView, PassageView, SourceView
from shared.contracts.evidence import Report, Usage
from shared.contracts.markdown import byline
from shared.domain.approval import ApprovalRules, approval_objection, describe_deciders
from shared.domain.budget import cost_limit, over_budget
from shared.domain.owed import decided_findings
from shared.domain.roles import Principal
from shared.domain.run import Run


class Choice(Struct, frozen=True):
    """What a person can decide on the hold of a run. `objection` says why their approval would not count."""

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
        """Whether the writer gets this source, as the form stands."""
        return sha256 not in self.unticked

    @property
    def kept(self) -> int:
        """How many sources the writer gets, as the form stands."""
        return len(self.sources - self.unticked)


class Found(Struct, frozen=True):
    """A source as a sub-query brought it, with those of its passages that are not shown further up."""

    source: SourceView
    passages: tuple[PassageView, ...]
    is_above: bool


class Spent(Struct, frozen=True):
    """What one agent, with one model, has cost."""

    who: str
    usage: Usage


def shown(
    run: Run, now: datetime, who: Principal, rules: ApprovalRules, *, rounds: int, kept: frozenset[str] | None = None
) -> dict[str, Any]:
    """What the templates of a run's page take."""
    drawn, published = lines(run), written(run)
    return {
        "row": run_row(run),
        "round": run.round,
        "findings": findings(run),
        "choice": choice(run, who, rules, rounds, kept) if run.status == "hold" else None,
        "said": said(run),
        "spent": spent(run),
        "usage": run.usage(),
        "limit": cost_limit(run),
        "lines": drawn,
        "bars": bars(drawn, run, now),
        "details": details(run),
        "fork_of": run.accepted.fact.fork if run.accepted else None,
        **(of_report(published.report) if published else {"report": None}),
    }


def of_report(report: Report) -> dict[str, Any]:
    """What shows a report: itself, the numbers of its sources, and what stands below its title."""
    numbers = {source.sha256: source.n for source in report.sources}
    return {"report": report, "numbers": numbers, "byline": byline(report, plain=str)}


def findings(run: Run) -> list[tuple[FindingView, list[Found]]]:
    """What each sub-query brought. What several brought is shown once, where it comes first."""
    seen: set[tuple[str, int, str]] = set()
    return [(finding, [_found(source, seen) for source in finding.sources]) for finding in view(run).findings]


def _found(source: SourceView, seen: set[tuple[str, int, str]]) -> Found:
    places = [(source.sha256, passage.start, passage.text) for passage in source.passages]
    fresh = tuple(passage for passage, place in zip(source.passages, places, strict=True) if place not in seen)
    seen.update(places)
    return Found(source, fresh, is_above=len(fresh) < len(places))


def choice(run: Run, who: Principal, rules: ApprovalRules, rounds: int, kept: frozenset[str] | None) -> Choice:
    """What they can decide; of the sources, perhaps only some are `kept` on the page already."""
    hold = run.current.hold
    assert hold
    why = approval_objection(run, who.name, who.auth, rules)
    sources = frozenset(source.sha256 for finding in decided_findings(run) for source in finding.sources)
    cast = ", ".join(one.by for one in said(run) if one.word == "voted to approve" and one.round == run.round)
    return Choice(
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
    """What the report may cost, in words; nothing where no model writes."""
    about = run.current.hold.fact.estimate if run.current.hold else None
    if about is None:
        return ""
    if about.cost_usd is None:
        return f"{about.model} writes the report; nobody knows its price."
    return f"{about.model} writes the report, for {money(about.cost_usd)} at most."


def spent(run: Run) -> list[Spent]:
    """What each agent has cost, by model."""
    by = run.usage_by(lambda call: f"{call.agent} · {call.model}")
    return [Spent(who, usage) for who, usage in by.items()]
