"""From a draft to a report: every quote is located in the frozen text, or its claim is dropped. Pure.

The writer is not trusted. Each quote is looked up, and the report has the source's own wording with its position, so
that anyone can verify it against the evidence alone.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from services.synthesizer import conflicts
from services.synthesizer.locate import locate
from services.synthesizer.schema import (
    CorrectionReply,
    WriterReply,
    WrittenClaim,
    WrittenConflict,
    WrittenQuote,
    WrittenSection,
)
from services.synthesizer.sources import number_sources
from services.synthesizer.support import judge_by_rule
from shared.contracts.evidence import (
    Citation,
    CitedSource,
    Claim,
    Conflict,
    Finding,
    Report,
    Searched,
    Section,
    Skipped,
    Source,
)
from shared.contracts.tasks import SynthesizeTask
from shared.contracts.visible import visible_line

_NUMBERS: Final = re.compile(r"(?:\s+|(?<=[.!?]))(?:\[\d+(?:,\s*\d+)*\]\s*)+(?=[.!?]?$)")


class Draft(Struct, frozen=True):
    """Claims with located quotes, each judged, and contradictions. `dropped` counts the quotes that
    stand in no source.
    """

    sections: tuple[Section, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    dropped: int = 0

    def plus(self, other: "Draft") -> "Draft":
        """Return both drafts, one after the other."""
        return Draft(self.sections + other.sections, self.conflicts + other.conflicts, self.dropped + other.dropped)


class MissingQuotes(Struct, frozen=True):
    """A claim with quotes that were not found. `n` is its number in the reply, from 1."""

    n: int
    text: str
    quotes: tuple[WrittenQuote, ...]


def report_of(task: SynthesizeTask, reply: WriterReply, *, writer: str, degraded: str | None = None) -> Report:
    """Return the report of `reply`, judged by rule."""
    return publish_report(task, draft_report(task, reply), writer=writer, degraded=degraded)


def draft_report(task: SynthesizeTask, reply: WriterReply) -> Draft:
    """Return the claims with at least one located quote, without repetitions and judged by rule, and the
    contradictions.

    Each missing quote, each claim without quotes, and each unlocated contradiction counts as dropped.
    """
    sources = number_sources(task.findings)
    sections = (_section(written, sources) for written in reply.sections)
    disputed = [_conflict(written, sources) for written in reply.conflicts]
    dropped = sum(max(1, len(each.quotes)) for each in missing_quotes(task, reply)) + disputed.count(None)
    return Draft(_distinct(sections), tuple(conflict for conflict in disputed if conflict), dropped)


def publish_report(
    task: SynthesizeTask, drafted: Draft, *, writer: str, degraded: str | None = None, judge: str | None = None
) -> Report:
    """Return the report of a draft: unsupported claims set apart, with sources, contradictions, gaps and skipped
    places.

    Every citation's quote is verbatim at its position. A report without sections is marked as insufficient and lists
    all sources.
    """
    sources = number_sources(task.findings)
    sections = tuple(kept for section in drafted.sections if (kept := _supported(section)).claims)
    made = Report(
        sections,
        (),
        writer,
        degraded,
        dropped=drafted.dropped,
        unsupported=tuple(_unsupported(drafted.sections)),
        judge=judge,
        insufficient=not sections,
        searched=tuple(Searched(visible_line(finding.query), len(finding.sources)) for finding in task.findings),
        skipped=tuple(_skipped(task.findings)),
    )
    found = conflicts.contradictions(made.citations(), sources)
    made = replace(made, conflicts=tuple(islice(_distinct_pairs(chain(drafted.conflicts, found)), conflicts.MOST)))
    shown = [citation.sha256 for citation in made.quoted()]
    listed = list(dict.fromkeys(shown if sections else [*shown, *(source.sha256 for source in sources)]))
    return replace(made, sources=_list_sources(listed, sources), gaps=gaps(task.findings, listed))


def missing_quotes(task: SynthesizeTask, reply: WriterReply) -> list[MissingQuotes]:
    """Return the claims with quotes that stand in no source, and those without quotes, in order."""
    sources = number_sources(task.findings)
    missing: list[MissingQuotes] = []
    for n, claim in enumerate(_claims(reply), 1):
        quotes = tuple(quote for quote in claim.quotes if _located(quote, sources) is None)
        missing += [MissingQuotes(n, claim.text, quotes)] if quotes or not claim.quotes else []
    return missing


def with_corrections(reply: WriterReply, missing: Iterable[MissingQuotes], correction: CorrectionReply) -> WriterReply:
    """Return `reply` with the quotes of `correction` in place of the missing ones. Claims that were not corrected stay
    as they are.
    """
    given = {each.claim: each.quotes for each in correction.claims}
    claims = _claims(reply)
    for each in missing:
        if quotes := given.get(each.n):
            kept = [quote for quote in claims[each.n - 1].quotes if quote not in each.quotes]
            claims[each.n - 1] = claims[each.n - 1].model_copy(update={"quotes": kept + quotes})
    rest = iter(claims)
    sections = [
        section.model_copy(update={"claims": list(islice(rest, len(section.claims)))}) for section in reply.sections
    ]
    return reply.model_copy(update={"sections": sections})


def _claims(reply: WriterReply) -> list[WrittenClaim]:
    """Return the claims of all sections, in order."""
    return [claim for section in reply.sections for claim in section.claims]


def gaps(findings: Iterable[Finding], cited: Collection[str]) -> tuple[str, ...]:
    """Return a line for each sub-query without a source among `cited` (SHA-256), with the reason."""
    missing = ((finding.query, _missing(finding, cited)) for finding in findings)
    return tuple(visible_line(f"{query} — {reason}") for query, reason in missing if reason)


def _missing(finding: Finding, cited: Collection[str]) -> str:
    """Return why a finding contributes nothing; empty if a source of it is cited."""
    if finding.failure:
        return finding.failure.message
    if not finding.sources:
        return "no sources"
    return "" if any(source.sha256 in cited for source in finding.sources) else "none of its sources is quoted"


def _skipped(findings: Iterable[Finding]) -> Iterator[Skipped]:
    """Yield each skipped place once, without those that another search read."""
    findings = tuple(findings)
    read = {place for finding in findings for it in finding.sources for place in (it.location, it.url, *it.also)}
    skipped = {it.location: it for finding in findings for it in finding.skipped if it.location not in read}
    return iter(skipped.values())


def _section(written: WrittenSection, sources: Sequence[Source]) -> Section:
    """Return the section with those of its claims that have a located quote."""
    claims = (_claim(claim, sources) for claim in written.claims)
    return Section(visible_line(written.heading), tuple(claim for claim in claims if claim is not None))


def _claim(written: WrittenClaim, sources: Sequence[Source]) -> Claim | None:
    """Return the claim with its citations, judged by rule; `None` without text or without a located quote.

    Source numbers at the end of the text are removed, unless the claim is a quote.
    """
    text = visible_line(written.text)
    if all(written.text != quote.quote for quote in written.quotes):
        text = _NUMBERS.sub("", text)
    found = (_located(quote, sources) for quote in written.quotes)
    citations = tuple(dict.fromkeys(citation for citation in found if citation))
    titles = {source.sha256: source.title for source in sources}
    cited = dict.fromkeys(citation.sha256 for citation in citations)
    return judge_by_rule(Claim(text, citations), [titles[sha256] for sha256 in cited]) if text and citations else None


def _located(quote: WrittenQuote, sources: Sequence[Source]) -> Citation | None:
    """Locate a quote in its source; `None` if it is not there or the source number is invalid."""
    return locate(quote.quote, sources[quote.source - 1]) if 1 <= quote.source <= len(sources) else None


def _conflict(written: WrittenConflict, sources: Sequence[Source]) -> Conflict | None:
    """Return the contradiction; `None` unless both quotes are located, in different sources."""
    one, other = _located(written.one, sources), _located(written.other, sources)
    return Conflict(visible_line(written.about), one, other) if one and other and one.sha256 != other.sha256 else None


def _distinct_pairs(found: Iterable[Conflict]) -> Iterator[Conflict]:
    """Yield the contradictions, each pair of quotes once in either order."""
    seen = set[frozenset[str]]()
    for conflict in found:
        pair = frozenset((conflict.one.quote, conflict.other.quote))
        if pair not in seen:
            seen.add(pair)
            yield conflict


def _distinct(sections: Iterable[Section]) -> tuple[Section, ...]:
    """Return the sections without claims that repeat an earlier one (case-insensitively), and
    without empty sections.
    """
    first: dict[str, Claim] = {}
    kept: list[Section] = []
    for section in sections:
        claims = tuple(claim for claim in section.claims if first.setdefault(claim.text.casefold(), claim) is claim)
        kept += [Section(section.heading, claims)] if claims else []
    return tuple(kept)


def _supported(section: Section) -> Section:
    """Return the section without unsupported claims."""
    return Section(section.heading, tuple(claim for claim in section.claims if claim.support != "unsupported"))


def _unsupported(sections: Iterable[Section]) -> Iterator[Claim]:
    """Yield the unsupported claims."""
    return (claim for section in sections for claim in section.claims if claim.support == "unsupported")


def _list_sources(order: Iterable[str], sources: Iterable[Source]) -> tuple[CitedSource, ...]:
    """Return the sources of these hashes, numbered from 1 in order."""
    known = {source.sha256: source for source in sources}
    return tuple(_source(n, known[sha256]) for n, sha256 in enumerate(order, start=1))


def _source(n: int, source: Source) -> CitedSource:
    """Return source number `n` as the report lists it."""
    return CitedSource(
        n=n,
        sha256=source.sha256,
        title=visible_line(source.title),
        location=visible_line(source.location),
        url=source.url,
        published=source.published,
        fetched_at=source.fetched_at,
        origin=source.origin,
        also=source.also,
    )
