"""What is measured of one run, from its facts and its frozen texts alone. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from typing import Final

from msgspec import Struct

from shared.contracts.evidence import Citation, Claim, Report
from shared.contracts.facts import PlanMade, SynthesisWritten
from shared.domain.run import Run

MOST_QUERIES: Final = 5
LONGEST_QUERY: Final = 120
_MARKS: Final = re.compile("[\"'“”‘’`]")


class Expected(Struct, frozen=True):
    """What must come out of a run, whatever else gets better or worse. Of `facts`, as many as possible."""

    outcome: str = "reported"
    degraded: bool = False
    facts: tuple[str, ...] = ()
    """Regular expressions; see `questions.toml`."""


class Figures(Struct, frozen=True, kw_only=True):
    """What came out of a run."""

    outcome: str
    degraded: bool
    plan: str = ""
    """What is wrong with the plan; empty for nothing."""
    quotes: int = 0
    located: int = 0
    """Of the quotes, those that stand in the frozen text at their place."""
    dropped: int = 0
    """Quotes that the writer made up."""
    claims: int = 0
    """Those that are not borne out included."""
    supported: int = 0
    facts: int = 0
    missing: tuple[str, ...] = ()
    """The facts that no claim states."""
    calls: int = 0
    cost_usd: float | None = None
    """`None` where nothing was called, or no price is known."""
    changed: tuple[str, ...] = ()
    """The prompts that are others today than when the run was recorded, by what they are for."""
    unrecorded: tuple[str, ...] = ()
    """What was asked for today and is not in the recording: searches, and model calls by what they are for."""

    @property
    def coverage(self) -> float:
        """The share of the expected facts that the report states."""
        return _share(self.facts - len(self.missing), self.facts)

    @property
    def support(self) -> float:
        """The share of the claims that are supported."""
        return _share(self.supported, self.claims)


def _share(some: int, of: int) -> float:
    return some / of if of else 1.0


def figures(
    run: Run,
    texts: Mapping[str, str],
    expected: Expected,
    *,
    changed: Iterable[str] = (),
    unrecorded: Iterable[str] = (),
) -> Figures:
    """What a run has come to."""
    report = _report(run)
    quotes = report.quoted() if report else ()
    claims = (*report.claims(), *report.unsupported) if report else ()
    usage = run.usage()
    return Figures(
        outcome=run.status,
        degraded=_degraded(run, report),
        plan=_fault(run),
        quotes=len(quotes),
        located=sum(stands(quote, texts) for quote in quotes),
        dropped=report.dropped if report else 0,
        claims=len(claims),
        supported=sum(claim.support == "supported" for claim in claims),
        facts=len(expected.facts),
        missing=tuple(fact for fact in expected.facts if not states(fact, report.claims() if report else ())),
        calls=usage.calls,
        cost_usd=usage.cost_usd,
        changed=tuple(dict.fromkeys(changed)),
        unrecorded=tuple(dict.fromkeys(unrecorded)),
    )


def stands(quote: Citation, texts: Mapping[str, str]) -> bool:
    """Whether a quote stands in the frozen text at its place, and the text is what its name says."""
    text = texts.get(quote.sha256, "")
    genuine = sha256(text.encode()).hexdigest() == quote.sha256
    return genuine and bool(quote.quote) and text.startswith(quote.quote, quote.start)


def states(fact: str, claims: Sequence[Claim]) -> bool:
    """Whether one of these claims, with its quotes, states a fact."""
    wanted = re.compile(_MARKS.sub("", fact), re.IGNORECASE)
    return any(wanted.search(_plain(claim)) for claim in claims)


def _plain(claim: Claim) -> str:
    said = " ".join([claim.text, *(citation.quote for citation in claim.citations)])
    return _MARKS.sub("", " ".join(said.split()))


def _report(run: Run) -> Report | None:
    written = [round_.synthesis.fact for _, round_ in sorted(run.rounds.items()) if round_.synthesis]
    return next((fact.report for fact in reversed(written) if isinstance(fact, SynthesisWritten)), None)


def _plans(run: Run) -> list[PlanMade]:
    plans = [round_.plan.fact for _, round_ in sorted(run.rounds.items()) if round_.plan]
    return [plan for plan in plans if isinstance(plan, PlanMade)]


def _degraded(run: Run, report: Report | None) -> bool:
    return any(plan.degraded for plan in _plans(run)) or bool(report and report.degraded)


def _fault(run: Run) -> str:
    """What is wrong with the plans: each round has a few short distinct queries that none before it had."""
    asked: set[str] = set()
    plans = _plans(run)
    for plan in plans:
        queries = [query.casefold() for query in plan.queries]
        if not 1 <= len(queries) <= MOST_QUERIES:
            return f"{len(queries)} queries"
        if wrong := next((query for query in queries if not _searchable(query)), None):
            return f"cannot be searched for: {wrong!r}"
        if len(set(queries)) < len(queries) or asked & set(queries):
            return "a query twice"
        asked.update(queries)
    return "" if plans else "no plan"


def _searchable(query: str) -> bool:
    return query == " ".join(query.split()) and len(query) <= LONGEST_QUERY and re.search(r"[^\W_]", query) is not None
