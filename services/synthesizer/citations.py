"""From what was written to what may be published: every quote found in the frozen text, or its claim dropped. Pure.

A writer is not believed. What it says to be in a source is looked up there, and what is published
is the source's own wording with its place, so that anybody can check it against the evidence alone.
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
from services.synthesizer.sources import numbered
from services.synthesizer.support import judged
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
    """What was written, as far as its quotes exist, each claim judged. `dropped` quotes stand in no source."""

    sections: tuple[Section, ...] = ()
    conflicts: tuple[Conflict, ...] = ()
    dropped: int = 0

    def plus(self, other: "Draft") -> "Draft":
        """Both drafts, one after the other."""
        return Draft(self.sections + other.sections, self.conflicts + other.conflicts, self.dropped + other.dropped)


class Lost(Struct, frozen=True):
    """Claim `n` (from 1, in the order of the reply), of whose quotes these were not found."""

    n: int
    text: str
    quotes: tuple[WrittenQuote, ...]


def report(task: SynthesizeTask, reply: WriterReply, *, writer: str, degraded: str | None = None) -> Report:
    """The publishable part of `reply`, judged by rule."""
    return publish(task, draft(task, reply), writer=writer, degraded=degraded)


def draft(task: SynthesizeTask, reply: WriterReply) -> Draft:
    """The claims of `reply` with at least one located quote, each once and judged by rule, and its contradictions."""
    sources = numbered(task.findings)
    sections = (_section(written, sources) for written in reply.sections)
    disputed = [_disputed(written, sources) for written in reply.conflicts]
    dropped = sum(max(1, len(each.quotes)) for each in lost(task, reply)) + disputed.count(None)
    return Draft(_distinct(sections), tuple(conflict for conflict in disputed if conflict), dropped)


def publish(
    task: SynthesizeTask, drafted: Draft, *, writer: str, degraded: str | None = None, judge: str | None = None
) -> Report:
    """The report of what was drafted: what is not borne out set apart, with its sources, and with what is missing.

    Every citation's quote is verbatim at its place. A report without sections is possible, and says that it is
    insufficient; it is for the caller to judge.
    """
    sources = numbered(task.findings)
    sections = tuple(kept for section in drafted.sections if (kept := _borne_out(section)).claims)
    made = Report(
        sections,
        (),
        writer,
        degraded,
        dropped=drafted.dropped,
        unsupported=tuple(_not_borne_out(drafted.sections)),
        judge=judge,
        insufficient=not sections,
        searched=tuple(Searched(visible_line(finding.query), len(finding.sources)) for finding in task.findings),
        skipped=tuple(_skipped(task.findings)),
    )
    found = conflicts.contradictions(made.citations(), sources)
    made = replace(made, conflicts=tuple(islice(_each_once(chain(drafted.conflicts, found)), conflicts.MOST)))
    shown = [citation.sha256 for citation in made.quoted()]
    listed = list(dict.fromkeys(shown if sections else [*shown, *(source.sha256 for source in sources)]))
    return replace(made, sources=_listed(listed, sources), gaps=gaps(task.findings, listed))


def lost(task: SynthesizeTask, reply: WriterReply) -> list[Lost]:
    """The claims with quotes that stand in no source, or with none at all."""
    sources = numbered(task.findings)
    missing: list[Lost] = []
    for n, claim in enumerate(_claims(reply), 1):
        quotes = tuple(quote for quote in claim.quotes if _located(quote, sources) is None)
        missing += [Lost(n, claim.text, quotes)] if quotes or not claim.quotes else []
    return missing


def corrected(reply: WriterReply, missing: Iterable[Lost], correction: CorrectionReply) -> WriterReply:
    """`reply` with the quotes of `correction` in place of those `missing`, which else stay, and count as dropped."""
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
    return [claim for section in reply.sections for claim in section.claims]


def gaps(findings: Iterable[Finding], cited: Collection[str]) -> tuple[str, ...]:
    """A line for each sub-query that brought nothing to a report that cites the sources `cited`, with the reason."""
    missing = ((finding.query, _missing(finding, cited)) for finding in findings)
    return tuple(visible_line(f"{query} — {reason}") for query, reason in missing if reason)


def _missing(finding: Finding, cited: Collection[str]) -> str:
    if finding.failure:
        return finding.failure.message
    if not finding.sources:
        return "no sources"
    return "" if any(source.sha256 in cited for source in finding.sources) else "none of its sources is quoted"


def _skipped(findings: Iterable[Finding]) -> Iterator[Skipped]:
    """Each place that was not read, once, less those that another search did read."""
    findings = tuple(findings)
    read = {place for finding in findings for it in finding.sources for place in (it.location, it.url, *it.also)}
    skipped = {it.location: it for finding in findings for it in finding.skipped if it.location not in read}
    return iter(skipped.values())


def _section(written: WrittenSection, sources: Sequence[Source]) -> Section:
    claims = (_claim(claim, sources) for claim in written.claims)
    return Section(visible_line(written.heading), tuple(claim for claim in claims if claim is not None))


def _claim(written: WrittenClaim, sources: Sequence[Source]) -> Claim | None:
    text = visible_line(written.text)
    if all(written.text != quote.quote for quote in written.quotes):
        text = _NUMBERS.sub("", text)
    found = (_located(quote, sources) for quote in written.quotes)
    citations = tuple(dict.fromkeys(citation for citation in found if citation))
    titles = {source.sha256: source.title for source in sources}
    cited = dict.fromkeys(citation.sha256 for citation in citations)
    return judged(Claim(text, citations), [titles[sha256] for sha256 in cited]) if text and citations else None


def _located(quote: WrittenQuote, sources: Sequence[Source]) -> Citation | None:
    return locate(quote.quote, sources[quote.source - 1]) if 1 <= quote.source <= len(sources) else None


def _disputed(written: WrittenConflict, sources: Sequence[Source]) -> Conflict | None:
    one, other = _located(written.one, sources), _located(written.other, sources)
    return Conflict(visible_line(written.about), one, other) if one and other and one.sha256 != other.sha256 else None


def _each_once(found: Iterable[Conflict]) -> Iterator[Conflict]:
    """The contradictions, each pair of quotes once, whichever of the two comes first."""
    seen = set[frozenset[str]]()
    for conflict in found:
        pair = frozenset((conflict.one.quote, conflict.other.quote))
        if pair not in seen:
            seen.add(pair)
            yield conflict


def _distinct(sections: Iterable[Section]) -> tuple[Section, ...]:
    """The sections without claims that an earlier one made in the same words."""
    first: dict[str, Claim] = {}
    kept: list[Section] = []
    for section in sections:
        claims = tuple(claim for claim in section.claims if first.setdefault(claim.text.casefold(), claim) is claim)
        kept += [Section(section.heading, claims)] if claims else []
    return tuple(kept)


def _borne_out(section: Section) -> Section:
    return Section(section.heading, tuple(claim for claim in section.claims if claim.support != "unsupported"))


def _not_borne_out(sections: Iterable[Section]) -> Iterator[Claim]:
    return (claim for section in sections for claim in section.claims if claim.support == "unsupported")


def _listed(order: Iterable[str], sources: Iterable[Source]) -> tuple[CitedSource, ...]:
    known = {source.sha256: source for source in sources}
    return tuple(_source(n, known[sha256]) for n, sha256 in enumerate(order, start=1))


def _source(n: int, source: Source) -> CitedSource:
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
