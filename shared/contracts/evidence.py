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
    prompt_sha256: str = ""
    """SHA-256 (hex) of what it was asked, a text in `EVIDENCE`: the messages as JSON. Empty where it was not kept."""
    reply_sha256: str = ""
    """The same of the response as it came, where one came."""


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
    most_usd: float | None = None
    """What all calls take at most that may follow from it: an invalid reply and lost quotes are corrected, a judge is
    asked. `None` where no price is known, or before it was kept."""


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


class Conflict(Struct, frozen=True):
    """Two sources that cannot both be right: where each says it, and in a few words what they differ `about`."""

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
    """A sub-query and how many sources it brought."""

    query: str
    sources: int


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
    dropped: int = 0
    """Quotes that the writer gave and that stand in no source; what rested on them alone was left out."""
    unsupported: tuple[Claim, ...] = ()
    """Claims that their quotes do not bear out. They are no part of the sections, and shown as what they are."""
    conflicts: tuple[Conflict, ...] = ()
    judge: str | None = None
    """The model that judged support beside the rule; `None` where the rule alone did."""
    insufficient: bool = False
    """There are no sections, because the evidence does not answer. `sources` are then all that were read."""
    searched: tuple[Searched, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    """Pages and tools that brought nothing, beside others that did."""

    def claims(self) -> tuple[Claim, ...]:
        """What the report says, in order."""
        return tuple(claim for section in self.sections for claim in section.claims)

    def citations(self) -> tuple[Citation, ...]:
        """Every citation of every claim, in order."""
        return tuple(citation for claim in self.claims() for citation in claim.citations)

    def quoted(self) -> tuple[Citation, ...]:
        """Every quote that the report shows: of its claims, of what was not borne out, of contradictions."""
        doubtful = tuple(citation for claim in self.unsupported for citation in claim.citations)
        sides = tuple(side for conflict in self.conflicts for side in (conflict.one, conflict.other))
        return (*self.citations(), *doubtful, *sides)
