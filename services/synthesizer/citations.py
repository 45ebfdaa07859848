"""From what was written to what may be published: every quote found in the frozen text, or its claim dropped. Pure.

A writer is not believed. What it says to be in a source is looked up there, and what is published
is the source's own wording with its place, so that anybody can check it against the evidence alone.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Final

from services.synthesizer.reply import WriterReply, WrittenClaim, WrittenQuote, WrittenSection
from services.synthesizer.sources import numbered
from shared.contracts.evidence import Citation, CitedSource, Claim, Finding, Passage, Report, Section, Source
from shared.contracts.tasks import SynthesizeTask

MIN_QUOTE: Final = 12
"""Characters. Shorter ones stand in any text, and support nothing."""

_ALIKE: Final = ("'‘’‚‛′`´", '"“”„‟″«»', "-‐‑‒–—―−")
_LIKE: Final = {mark: f"[{re.escape(marks)}]" for marks in _ALIKE for mark in marks}
_OUTER: Final = " \"'.…"
_NUMBERS: Final = re.compile(r"(?:\s+|(?<=[.!?]))(?:\[\d+(?:,\s*\d+)*\]\s*)+(?=[.!?]?$)")


def report(task: SynthesizeTask, reply: WriterReply, *, writer: str, degraded: str | None = None) -> Report:
    """The publishable part of `reply`: claims with a located quote, the sources they cite, and what is missing.

    Every citation's quote is verbatim at its place. A report without sections is possible; it is for the caller to
    judge.
    """
    sources = numbered(task.findings)
    sections = tuple(section for written in reply.sections if (section := _section(written, sources)).claims)
    cited = _cited(sections, sources)
    missing = gaps(task.findings, {source.sha256 for source in cited})
    return Report(_distinct(sections), cited, writer, degraded, missing)


def gaps(findings: Iterable[Finding], cited: Collection[str]) -> tuple[str, ...]:
    """A line for each sub-query that brought nothing to a report that cites the sources `cited`, with the reason."""
    missing = ((finding.query, _missing(finding, cited)) for finding in findings)
    return tuple(f"{query} — {reason}" for query, reason in missing if reason)


def _missing(finding: Finding, cited: Collection[str]) -> str:
    if finding.failure:
        return finding.failure.message
    if not finding.sources:
        return "no sources"
    return "" if any(source.sha256 in cited for source in finding.sources) else "none of its sources is quoted"


def locate(quote: str, source: Source) -> Citation | None:
    """Where `quote` stands in one of the source's passages, in the source's own characters; `None` where it does not.

    First as it is; then with white space, quotation marks and dashes made alike, which models copy badly, and
    without the marks that they put around it.
    """
    for passage in source.passages:
        if (start := passage.text.find(quote)) >= 0 and _substantial(quote, passage):
            return Citation(source.sha256, quote, passage.start + start)
    for wanted in (quote, quote.strip(_OUTER)):
        pattern = _pattern(wanted)
        for passage in source.passages:
            if (match := pattern.search(passage.text)) and _substantial(wanted, passage):
                return Citation(source.sha256, match.group(), passage.start + match.start())
    return None


def _pattern(quote: str) -> re.Pattern[str]:
    words = ("".join(_LIKE.get(character, re.escape(character)) for character in word) for word in quote.split())
    return re.compile(r"\s+".join(words))


def _substantial(quote: str, passage: Passage) -> bool:
    return len(quote.strip()) >= min(MIN_QUOTE, max(1, len(passage.text.strip())))


def _section(written: WrittenSection, sources: Sequence[Source]) -> Section:
    claims = (_claim(claim, sources) for claim in written.claims)
    return Section(" ".join(written.heading.split()), tuple(claim for claim in claims if claim is not None))


def _claim(written: WrittenClaim, sources: Sequence[Source]) -> Claim | None:
    text = written.text
    if all(text != quote.quote for quote in written.quotes):
        text = _NUMBERS.sub("", " ".join(text.split()))
    located = tuple(dict.fromkeys(_citations(written.quotes, sources)))
    return Claim(text, located) if text.strip() and located else None


def _citations(quotes: Iterable[WrittenQuote], sources: Sequence[Source]) -> Iterator[Citation]:
    for quote in quotes:
        if 1 <= quote.source <= len(sources) and (citation := locate(quote.quote, sources[quote.source - 1])):
            yield citation


def _distinct(sections: Iterable[Section]) -> tuple[Section, ...]:
    """The sections without claims that an earlier one made in the same words."""
    first: dict[str, Claim] = {}
    kept: list[Section] = []
    for section in sections:
        claims = tuple(claim for claim in section.claims if first.setdefault(claim.text.casefold(), claim) is claim)
        kept += [Section(section.heading, claims)] if claims else []
    return tuple(kept)


def _cited(sections: Iterable[Section], sources: Iterable[Source]) -> tuple[CitedSource, ...]:
    known = {source.sha256: source for source in sources}
    order = dict.fromkeys(
        citation.sha256 for section in sections for claim in section.claims for citation in claim.citations
    )
    return tuple(
        CitedSource(n, sha256, known[sha256].title, known[sha256].location) for n, sha256 in enumerate(order, start=1)
    )
