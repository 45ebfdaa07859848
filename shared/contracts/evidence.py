"""Evidence that research finds, and the report that is written from it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct


class Failure(Struct, frozen=True):
    """The reason of a failure: a stable `code` for programs and a sentence for people."""

    code: str
    message: str


class Usage(Struct, frozen=True):
    """The cost of model calls. `cost_usd` is `null` if no price is known; it is never guessed."""

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    unpriced: int = 0
    """Calls without a known price, which are not in `cost_usd`."""
    estimated: int = 0
    """Calls whose tokens are estimated, at their most, because the endpoint counted none."""

    def plus(self, other: "Usage") -> "Usage":
        """Return the sum. Its cost is the sum of the known costs, `None` if neither is known."""
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
    """One call of a language model, whether or not its reply could be used."""

    agent: str
    """`planner`, `writer` or `judge`."""
    model: str
    prompt: str
    """The version of the prompt."""
    input_tokens: int
    output_tokens: int
    cost_usd: float | None = None
    """In US dollars; `null` if no price is known."""
    duration_s: float = 0.0
    estimated: bool = False
    """The endpoint counted no tokens; these are an estimate, at their most."""
    reading: str = "ok"
    """The reply: valid as it came (`ok`) or with its JSON `repaired`; `empty`, only reasoning (`thinking`), `refused`,
    `truncated` or `malformed`; not in time (`timeout`), or unreadable (`bad_response`)."""
    prompt_sha256: str = ""
    """SHA-256 (hex) of the messages as JSON, a text in `EVIDENCE`. Empty if it was not kept."""
    reply_sha256: str = ""
    """The same of the response as it came. Empty if none came."""


def usage_of(calls: Iterable[Call]) -> Usage:
    """Return the summed usage of calls. Calls without a price count as `unpriced`."""
    total = Usage()
    for call in calls:
        unpriced = call.cost_usd is None
        total = total.plus(Usage(1, call.input_tokens, call.output_tokens, call.cost_usd, unpriced, call.estimated))
    return total


class Estimate(Struct, frozen=True):
    """The most that one call of `model` can take. `cost_usd` is `null` if no price is known."""

    model: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None = None
    most_usd: float | None = None
    """The most that this call and all that can follow it cost: corrections of the reply and its quotes, and the judge.
    `null` if no price is known, and in facts of early releases."""


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
    """The address after redirects; empty if the source is not a page."""
    status: int | None = None
    """The HTTP status of the response."""
    fetched_at: Annotated[datetime, Meta(tz=True)] | None = None
    media_type: str = ""
    bytes_sha256: str = ""
    """SHA-256 (hex) of the decompressed bytes, before text was extracted from them."""
    published: str | None = None
    """The date that the document states, ISO 8601; `null` if it states none."""
    language: str = ""
    """The language that the document states, such as `en-gb`."""
    origin: str = ""
    """Key of the origin. Sources of one origin share most of their words and count once. Empty: its own."""
    also: tuple[str, ...] = ()
    """Other locations with nearly the same text, which were merged into this source."""
    stripped: tuple[str, ...] = ()
    """Descriptions of content that was removed before the text was frozen: hidden text, invisible characters."""


class Skipped(Struct, frozen=True):
    """A page or a tool that contributed nothing, with the reason."""

    location: str
    failure: Failure


class Finding(Struct, frozen=True):
    """The result of one sub-query: sources, or a failure with the reason."""

    query: str
    sources: tuple[Source, ...] = ()
    failure: Failure | None = None
    skipped: tuple[Skipped, ...] = ()


class Citation(Struct, frozen=True):
    """A quote for a claim: `quote` is in the frozen text `sha256`, verbatim, from character `start` on."""

    sha256: str
    quote: str
    start: int


Support = Literal["supported", "partial", "unsupported"]


class Claim(Struct, frozen=True):
    """One sentence of the report with its citations, of which it has at least one."""

    text: str
    citations: tuple[Citation, ...]
    support: Support | None = None
    """The degree to which the quotes support the claim, independent of their existence; `null` if it was not judged."""
    doubt: str = ""
    """The part of the claim that its quotes do not support, in words."""


class Section(Struct, frozen=True):
    """A heading and its claims, in order."""

    heading: str
    claims: tuple[Claim, ...]


class Conflict(Struct, frozen=True):
    """Two sources that contradict each other: a citation of each, and the subject in a few words (`about`)."""

    about: str
    one: Citation
    other: Citation


class CitedSource(Struct, frozen=True):
    """A source as the report lists it: number `n` (from 1) in order of first citation. The rest is as in `Source`."""

    n: int
    sha256: str
    title: str
    location: str
    url: str = ""
    published: str | None = None
    fetched_at: Annotated[datetime, Meta(tz=True)] | None = None
    origin: str = ""
    also: tuple[str, ...] = ()


class Searched(Struct, frozen=True):
    """A sub-query and the number of its sources."""

    query: str
    sources: int


class Report(Struct, frozen=True):
    """A written report: its claims, the sources that they cite, and the gaps."""

    sections: tuple[Section, ...]
    sources: tuple[CitedSource, ...]
    writer: str
    """The model, or `offline`."""
    degraded: str | None = None
    """The reason why the report was extracted by rule although there is a model."""
    gaps: tuple[str, ...] = ()
    """The sub-queries that found nothing."""
    dropped: int = 0
    """Quotes of the writer that are in no source; claims without another quote were left out."""
    unsupported: tuple[Claim, ...] = ()
    """Claims that their quotes do not support. They are listed apart from the sections."""
    conflicts: tuple[Conflict, ...] = ()
    judge: str | None = None
    """The model that judged support in addition to the rule; `null` if only the rule did."""
    insufficient: bool = False
    """There are no sections, because the evidence has no answer. `sources` are then all that were read."""
    searched: tuple[Searched, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    """Pages and tools that contributed nothing."""

    def claims(self) -> tuple[Claim, ...]:
        """All claims of the sections, in order."""
        return tuple(claim for section in self.sections for claim in section.claims)

    def citations(self) -> tuple[Citation, ...]:
        """Every citation of every claim, in order."""
        return tuple(citation for claim in self.claims() for citation in claim.citations)

    def quoted(self) -> tuple[Citation, ...]:
        """Every citation that the report shows: of claims, unsupported claims and conflicts, in this order."""
        doubtful = tuple(citation for claim in self.unsupported for citation in claim.citations)
        sides = tuple(side for conflict in self.conflicts for side in (conflict.one, conflict.other))
        return (*self.citations(), *doubtful, *sides)
