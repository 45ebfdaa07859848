"""Sources from search results: cleaned, without duplicates, and small enough that a finding fits in a message. Pure.

After cleaning, no character takes more than four bytes of JSON, so the limits on characters are limits on bytes.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import islice
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from services.fetcher.findings import dedup, invisible
from services.fetcher.findings.dedup import Shingles
from services.fetcher.findings.invisible import visible
from services.fetcher.findings.tool import Hit
from shared.contracts.evidence import Failure, Passage, Skipped, Source

MAX_SOURCES: Final = 8
MAX_SKIPPED: Final = 10
_MAX_TITLE: Final = 300
_MAX_LOCATION: Final = 1_000
_MAX_PASSAGES: Final = 5
_MAX_CHARS: Final = 2_400
"""Characters of all passages of a source."""
_MAX_ALSO: Final = 6
_MAX_SKIPPED_LOCATION: Final = 200
_MAX_STRIPPED: Final = 4
_MAX_STRIPPED_CHARS: Final = 120
_MAX_MESSAGE: Final = 240
_PARTIAL_DATE: Final = re.compile(r"\d{4}(?:-\d\d)?")


class CleanHit(Struct, frozen=True):
    """A cleaned document of the tool `tool`. `also` are the locations of the duplicates that were folded into it."""

    tool: str
    hit: Hit
    shingles: Shingles
    also: tuple[str, ...] = ()


def clean_hit(tool: str, hit: Hit) -> CleanHit | None:
    """Return the result without invisible characters, which are counted in `stripped`; `None` if no visible text is
    left.
    """
    shown = visible(hit.text)
    if not shown.text.strip():
        return None
    passages = tuple(
        Passage(text, start)
        for passage in hit.passages
        for start, end in [(shown.position(passage.start), shown.position(passage.start + len(passage.text)))]
        if (text := shown.text[start:end])
    )
    stripped = (*hit.stripped, *invisible.describe_removed(len(shown.cuts)))
    clean = replace(hit, text=shown.text, passages=passages, stripped=stripped, title=_one_line(hit.title))
    return CleanHit(tool, clean, dedup.shingles(shown.text))


def fold_duplicate(known: Sequence[CleanHit], new: CleanHit) -> list[CleanHit]:
    """Return `known` with `new` appended, or folded into its first duplicate, whose `also` then has the location of
    `new`.

    A duplicate must contain the passages that the tool chose in `new`: two versions may differ in the one relevant
    word.
    """
    for at, one in enumerate(known):
        quoted = all(passage.text in one.hit.text for passage in new.hit.passages)
        if quoted and dedup.are_duplicates(one.shingles, new.shingles):
            places = dict.fromkeys((*one.also, new.hit.location))
            places.pop(one.hit.location, None)
            return [*known[:at], replace(one, also=tuple(places)), *known[at + 1 :]]
    return [*known, new]


def build_source(clean_hit: CleanHit, *, sha256: str, origin: str, passages: Iterable[Passage]) -> Source:
    """Return the source with its text frozen under `sha256`; title, location, passages and lists
    cut to their limits.
    """
    hit = clean_hit.hit
    return Source(
        sha256=sha256,
        title=_truncate(hit.title, _MAX_TITLE),
        location=_truncate(_one_line(hit.location), _MAX_LOCATION),
        tool=clean_hit.tool,
        passages=tuple(_limit_passages(passages)),
        url=_truncate(_one_line(hit.url), _MAX_LOCATION),
        status=hit.status,
        fetched_at=hit.fetched_at,
        media_type=hit.media_type,
        bytes_sha256=hit.bytes_sha256,
        published=_date(hit.published),
        language=hit.language[:20],
        origin=origin,
        also=tuple(_truncate(_one_line(place), _MAX_SKIPPED_LOCATION) for place in clean_hit.also[:_MAX_ALSO]),
        stripped=tuple(_truncate(_one_line(told), _MAX_STRIPPED_CHARS) for told in hit.stripped[:_MAX_STRIPPED]),
    )


def limit_skipped(passed_over: Sequence[Skipped]) -> tuple[Skipped, ...]:
    """Return at most `MAX_SKIPPED` skipped places with bounded texts; the last one counts those that do not fit."""
    fitting = tuple(
        Skipped(
            _truncate(_one_line(one.location), _MAX_SKIPPED_LOCATION),
            Failure(one.failure.code, _truncate(_one_line(one.failure.message), _MAX_MESSAGE)),
        )
        for one in passed_over[:MAX_SKIPPED]
    )
    left = len(passed_over) - len(fitting)
    more = Skipped("", Failure("more", f"{left + 1} more were skipped."))
    return (*fitting[:-1], more) if left else fitting


def _limit_passages(passages: Iterable[Passage]) -> Iterator[Passage]:
    """Yield the first passages, up to `_MAX_PASSAGES`; the last one is cut where `_MAX_CHARS` in all are reached."""
    room = _MAX_CHARS
    for passage in islice(passages, _MAX_PASSAGES):
        if room:
            text = passage.text[:room]
            room -= len(text)
            yield Passage(text, passage.start)


def _date(told: str | None) -> str | None:
    """Return the ISO 8601 date, month or year at the beginning of a text; `None` if there is none."""
    try:
        return date.fromisoformat(told[:10]).isoformat() if told else None
    except ValueError:
        return told if told and _PARTIAL_DATE.fullmatch(told) else None


def _one_line(text: str) -> str:
    """Return `text` on one line without invisible characters."""
    return " ".join(visible(text).text.split())


def _truncate(text: str, limit: int) -> str:
    """Return `text` of at most `limit` characters; a cut ends in `…`."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
