"""A report as Markdown on one page. Pure.

Text from pages, models and requesters is escaped: it makes no link, image, heading or HTML. The only links are the
addresses at which sources were read.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from shared.contracts.evidence import CitedSource, Claim, Conflict, Report
from shared.contracts.visible import visible_line

_SPECIAL: Final = re.compile(
    r"""
    (?=[\\`\[<~*_&:.@])                      # most characters are none of these, and are skipped at once
    (?:
      [\\`\[<~]
    | (?<!\s)\* | \*(?!\s)                  # with space on both sides it marks nothing
    | (?<![^\W_])_ | _(?![^\W_])            # neither does this within a word
    | &(?=[#\w])
    | (?<=\w):(?=//) | (?<=www)\. | (?<=\w)@(?=\w)      # addresses that some renderers link by themselves
    )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_OPENS: Final = tuple("-+#=>")
"""First characters that begin a list, a heading, a rule or a quotation at the start of a line, as "1." does."""
_ORDINAL: Final = re.compile(r"\d{1,9}(?=[.)](?:\s|$))")
_ADDRESS: Final = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&()*+,;=%\[\]-]+")


def markdown(question: str, report: Report) -> str:
    """The report as Markdown. Every sentence ends in the numbers of the sources it cites."""
    numbers = {source.sha256: source.n for source in report.sources}
    blocks = [f"# {_escape(question)}", f"*{byline(report, plain=_escape)}*"]
    if report.degraded:
        blocks.append(f"*Degraded: {_escape(report.degraded)}*")
    if report.insufficient:
        blocks += _insufficient(report)
    for section in report.sections:
        blocks += [f"## {_escape(section.heading)}"] if section.heading else []
        blocks.append(" ".join(_claim(claim, numbers) for claim in section.claims))
    blocks += _list_section("Sources disagree", (_conflict(each, numbers) for each in report.conflicts))
    blocks += _list_section("Not borne out", (_unsupported(claim, numbers) for claim in report.unsupported))
    blocks += _list_section("Not answered", map(_escape, report.gaps))
    blocks += _list_section(
        "Not read", (f"{_escape(it.location)}: {_escape(it.failure.message)}" for it in report.skipped)
    )
    if report.sources:
        title = "Sources read" if report.insufficient else "Sources"
        blocks += [f"## {title}", "\n".join(map(_source_line, report.sources))]
    return "\n\n".join(blocks) + "\n"


def byline(report: Report, *, plain: Callable[[str], str]) -> str:
    """Return one line: the writer, how the claims were judged, dropped quotes, and the number of sources and origins.

    `plain` escapes names for the format in which the line is shown.
    """
    did = "Read" if report.insufficient else "Extracted verbatim" if report.writer == "offline" else "Written"
    who = "the offline model; no language model took part" if report.writer == "offline" else plain(report.writer)
    origins = len({source.origin or source.sha256 for source in report.sources})
    sources = f"{count_noun(len(report.sources), 'source')} of {count_noun(origins, 'origin')}"
    dropped = [f"{count_noun(report.dropped, 'quote')} dropped"] if report.dropped else []
    return " · ".join(
        [f"{did} by {who}", *_claim_summary(report, plain), *dropped, *([sources] if report.sources else [])]
    )


def _claim_summary(report: Report, plain: Callable[[str], str]) -> list[str]:
    """Return the number of claims by support and the judge, as a list of one text; empty if there are no claims."""
    claims = (*report.claims(), *report.unsupported)
    if not claims:
        return []
    verdicts = [claim.support for claim in claims]
    words = (("supported", "supported"), ("partial", "in part"), ("unsupported", "not borne out"))
    by_support = [f"{verdicts.count(support)} {word}" for support, word in words if support in verdicts]
    by = f"by rule and by {plain(report.judge)}" if report.judge else "by rule"
    total = count_noun(len(claims), "claim")
    return [f"{total}: {', '.join(by_support)} (checked {by})" if by_support else total]


def _insufficient(report: Report) -> Iterator[str]:
    """Yield the blocks that stand in place of sections if the evidence has no answer."""
    yield "**The evidence does not answer the question.** Nothing was written, since nothing could have been quoted."
    if report.searched:
        yield "## What was searched"
        yield _bullets(f"{_escape(it.query)}: {count_noun(it.sources, 'source')}" for it in report.searched)


def _claim(claim: Claim, numbers: dict[str, int]) -> str:
    """The claim with its citation numbers, and its doubt if it is not fully supported."""
    doubt = f" *({_doubt(claim)})*" if claim.support in ("partial", "unsupported") else ""
    return f"{_escape(claim.text)} {_citation_marks(claim, numbers)}{doubt}"


def _doubt(claim: Claim) -> str:
    """The degree of support in words, with the doubt if there is one."""
    word = "in part" if claim.support == "partial" else "not borne out"
    return f"{word}: {_escape(claim.doubt)}" if claim.doubt else word


def _citation_marks(claim: Claim, numbers: dict[str, int]) -> str:
    """The numbers of the cited sources, as `[1][3]`, each once; citations of unlisted sources are left out."""
    cited = dict.fromkeys(numbers[citation.sha256] for citation in claim.citations if citation.sha256 in numbers)
    return "".join(f"[{number}]" for number in cited)


def _conflict(conflict: Conflict, numbers: dict[str, int]) -> str:
    """A list item: the subject of the conflict, and both quotes with their numbers as sub-items."""
    sides = [f"“{_escape(it.quote)}” [{numbers.get(it.sha256, '?')}]" for it in (conflict.one, conflict.other)]
    return "\n  - ".join([_escape(conflict.about) or "Which is it?", *sides])


def _unsupported(claim: Claim, numbers: dict[str, int]) -> str:
    """A list item: an unsupported claim with its citation numbers and the reason."""
    doubt = _escape(claim.doubt) or "its quotes do not say so"
    return f"{_escape(claim.text)} {_citation_marks(claim, numbers)} *({doubt})*"


def _source_line(source: CitedSource) -> str:
    """A numbered list item: title, address, date, time of the fetch, copies, and the start of the SHA-256."""
    where = f"<{source.url}>" if _ADDRESS.fullmatch(source.url) else _escape(source.url or source.location)
    title = _escape(source.title)
    parts = [title] if title == where else [title, where]
    parts.append(_escape(source.published) if source.published else "no date")
    if source.fetched_at:
        parts.append(f"fetched {_utc_minute(source.fetched_at)}")
    if source.also:
        parts.append(f"same text at {count_noun(len(source.also), 'other place')}")
    return f"{source.n}. {' · '.join(filter(None, parts))} · SHA-256 {source.sha256[:12]}"


def _utc_minute(at: datetime) -> str:
    """The time in UTC, to the minute."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _list_section(title: str, items: Iterable[str]) -> list[str]:
    """Heading and list as two blocks; no block if there are no items."""
    listed = _bullets(items)
    return [f"## {title}", listed] if listed else []


def _bullets(items: Iterable[str]) -> str:
    """The items as a Markdown list."""
    return "\n".join(f"- {item}" for item in items)


def count_noun(number: int, thing: str) -> str:
    """Number and noun, as in `1 claim` and `2 claims`; plural is always with `s`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _escape(text: str) -> str:
    """`text` on one line without invisible characters, escaped so that Markdown shows it as it is."""
    line = _SPECIAL.sub(r"\\\g<0>", visible_line(text))
    if ordinal := _ORDINAL.match(line):
        return f"{ordinal.group()}\\{line[ordinal.end() :]}"
    return f"\\{line}" if line.startswith(_OPENS) else line
