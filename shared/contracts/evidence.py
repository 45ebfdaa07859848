"""What research finds, and the report that is written from it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct


class Failure(Struct, frozen=True):
    """Why something failed: a stable `code` for programs and a sentence for people."""

    code: str
    message: str


class Usage(Struct, frozen=True):
    """What a step cost. `cost_usd` is `None` where no price is known; it is never guessed."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    unpriced: int = 0
    """How many of the calls have no known price, and so are not in `cost_usd`."""
    estimated: int = 0
    """Of how many calls the tokens are estimated, at their most, because the endpoint counted none."""

    def plus(self, other: "Usage") -> "Usage":
        """The sum; its cost is that of the calls whose price is known, and `None` where no price is."""
        known = [cost for cost in (self.cost_usd, other.cost_usd) if cost is not None]
        return Usage(
            self.calls + other.calls,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            round(sum(known), 9) if known else None,
            self.unpriced + other.unpriced,
            self.estimated + other.estimated,
        )


class Call(Struct, frozen=True):
    """One call of a language model, which costs what it costs whether or not its reply could be used.

    `agent` is who made it (`planner`, `writer`), `prompt` the version of the words it was asked with.
    """

    agent: str
    model: str
    prompt: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None = None
    """In US dollars; `None` where no price is known."""
    duration_s: float = 0.0
    estimated: bool = False
    """The endpoint counted no tokens, so these are an estimate, at their most."""
    reading: str = "ok"
    """What it brought: a reply in its form, as it came (`ok`) or with its JSON `repaired`; one that was `empty`, only
    reasoning (`thinking`), `refused`, `truncated` or `malformed`; none in time (`timeout`), or none that could be read
    (`bad_response`)."""


def usage_of(calls: Iterable[Call]) -> Usage:
    """What these calls cost together."""
    total = Usage()
    for call in calls:
        unpriced = call.cost_usd is None
        total = total.plus(Usage(1, call.input_tokens, call.output_tokens, call.cost_usd, unpriced, call.estimated))
    return total


class Estimate(Struct, frozen=True):
    """What one call of `model` takes at most. `cost_usd` is `None` where no price is known."""

    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None = None


class Passage(Struct, frozen=True):
    """A verbatim excerpt: `text` equals the frozen text from character `start` on."""

    text: str
    start: int


class Source(Struct, frozen=True):
    """One document as it was found. `sha256` (hex) names its frozen text in the `EVIDENCE` stream."""

    sha256: str
    title: str
    location: str
    tool: str
    passages: tuple[Passage, ...]
    url: str = ""
    """Where it was read, after redirects; empty for what is no page."""
    status: int | None = None
    """The HTTP status that it came with."""
    fetched_at: Annotated[datetime, Meta(tz=True)] | None = None
    media_type: str = ""
    bytes_sha256: str = ""
    """SHA-256 (hex) of its bytes, unpacked where they came packed, before any text was taken from them."""
    published: str | None = None
    """The date that the document gives itself, ISO 8601; `None` where it gives none."""
    language: str = ""
    """The language that the document says it is in, such as `en-gb`."""
    origin: str = ""
    """Whose words these are: sources of one origin count once, however many links lead to them. Empty: its own."""
    also: tuple[str, ...] = ()
    """Other locations that had nearly the same text and were folded into this source."""
    stripped: tuple[str, ...] = ()
    """What was taken out before the text was frozen, in words: hidden text, invisible characters."""


class Skipped(Struct, frozen=True):
    """A page or a tool that brought nothing beside others that did: where, and why."""

    location: str
    failure: Failure


class Finding(Struct, frozen=True):
    """What one sub-query brought back: sources, or a failure that says why there are none."""

    query: str
    sources: tuple[Source, ...] = ()
    failure: Failure | None = None
    skipped: tuple[Skipped, ...] = ()


class Citation(Struct, frozen=True):
    """Where a claim comes from: `quote` stands verbatim in the frozen text `sha256` from character `start` on."""

    sha256: str
    quote: str
    start: int


Support = Literal["supported", "partial", "unsupported"]


class Claim(Struct, frozen=True):
    """One sentence of the report and what supports it; without a citation there is no claim."""

    text: str
    citations: tuple[Citation, ...]
    support: Support | None = None
    """Whether its quotes bear it out, judged apart from whether they exist; `None` where nobody judged."""
    doubt: str = ""
    """What of the claim its quotes do not bear out, in words."""


class Section(Struct, frozen=True):
    """A heading and its claims, in order."""

    heading: str
    claims: tuple[Claim, ...]


class CitedSource(Struct, frozen=True):
    """A source as the report lists it: number `n` (from 1) in order of first citation."""

    n: int
    sha256: str
    title: str
    location: str


class Report(Struct, frozen=True):
    """A written report: all its claims, the sources they cite, and what is missing.

    `writer` says who wrote it (a model's name, or `offline`), `degraded` why a model's own
    words were not used, and `gaps` names each sub-query that brought nothing.
    """

    sections: tuple[Section, ...]
    sources: tuple[CitedSource, ...]
    writer: str
    degraded: str | None = None
    gaps: tuple[str, ...] = ()

    def citations(self) -> tuple[Citation, ...]:
        """Every citation of every claim, in order."""
        return tuple(citation for section in self.sections for claim in section.claims for citation in claim.citations)


def markdown(question: str, report: Report) -> str:
    """The report as Markdown. Every sentence ends in the numbers of the sources it cites."""
    numbers = {source.sha256: source.n for source in report.sources}
    lines = [f"# {_one_line(question)}", "", f"*{_byline(report)}*", ""]
    for section in report.sections:
        if section.heading:
            lines += [f"## {_one_line(section.heading)}", ""]
        lines += [" ".join(_cited(claim, numbers) for claim in section.claims), ""]
    if report.gaps:
        lines += ["## Not answered", "", *(f"- {_one_line(gap)}" for gap in report.gaps), ""]
    lines += ["## Sources", "", *(_listed(source) for source in report.sources), ""]
    return "\n".join(lines)


def _byline(report: Report) -> str:
    author = (
        "Extracted verbatim by the offline model; no language model took part."
        if report.writer == "offline"
        else f"Written by {_one_line(report.writer)}."
    )
    return f"{author} Degraded: {_one_line(report.degraded)}" if report.degraded else author


def _cited(claim: Claim, numbers: dict[str, int]) -> str:
    marks = dict.fromkeys(numbers[citation.sha256] for citation in claim.citations if citation.sha256 in numbers)
    return f"{_one_line(claim.text)} {''.join(f'[{number}]' for number in marks)}"


def _listed(source: CitedSource) -> str:
    return f"{source.n}. {_one_line(source.title)}, {_one_line(source.location)} (sha256 {source.sha256[:12]}…)"


def _one_line(text: str) -> str:
    return " ".join(text.split())
