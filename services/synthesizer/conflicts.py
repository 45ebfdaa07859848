"""Sources that contradict each other: the same said with another number, or denied. Pure.

Few are found by rule and nearly none wrongly: two sentences must say the same in the same words but for one number,
or but for a denial.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from services.synthesizer.entities import names, polarity
from services.synthesizer.numbers import Number, bears, numbers
from services.synthesizer.ranking import leans, standing
from shared.contracts.evidence import Citation, Conflict, Source
from shared.text.sentences import sentences
from shared.text.terms import jaccard, terms

MOST: Final = 5
"""Contradictions that a report shows."""
_SAME_THING: Final = 0.75
"""The share of their words that two sentences have in common which speak of the same thing."""
_ENOUGH_WORDS: Final = 4
_STANDS_ALONE: Final = 0.55
"""What a sentence must be worth outside its document; others may well speak of something else in the same words."""
_WITHOUT: Final = re.compile(r"\bwithout\b", re.IGNORECASE)
_OF_THEIR_OWN: Final = frozenset(terms("version versions since release deprecated added changed"))
"""Words of sentences that have every right to another number than the next one."""


def contradictions(quoted: Iterable[Citation], sources: Sequence[Source]) -> Iterator[Conflict]:
    """Where a sentence of another origin contradicts one that is quoted. Each pair of places once."""
    origins = {source.sha256: source.origin or source.sha256 for source in sources}
    told = [(sentence, _things(sentence.quote)) for source in sources for sentence in _told(source)]
    seen = set[frozenset[Citation]]()
    for citation in dict.fromkeys(quoted):
        things = _things(citation.quote)
        for other, theirs in told:
            pair = frozenset((citation, other))
            if pair in seen or origins[citation.sha256] == origins[other.sha256] or not _same(things, theirs):
                continue
            if about := differing(citation.quote, other.quote):
                seen.add(pair)
                yield Conflict(about, citation, other)


def differing(one: str, other: str) -> str:
    """What two sentences that speak of the same thing differ about; empty where they do not contradict each other."""
    if not _same(_things(one), _things(other)):
        return ""
    if {name.casefold() for name in names(one)} != {name.casefold() for name in names(other)}:
        return ""
    if any(leans(text) or standing(text) < _STANDS_ALONE for text in (one, other)):
        return ""
    mine = [number for number in numbers(one) if not bears(other, number)]
    yours = [number for number in numbers(other) if not bears(one, number)]
    if len(mine) == len(yours) == 1 and _comparable(mine[0], yours[0]) and _agree(one, other):
        return f"{mine[0].said} or {yours[0].said}?"
    return "One says it, the other denies it." if not mine and not yours and _opposed(one, other) else ""


def _same(here: frozenset[str], there: frozenset[str]) -> bool:
    """Whether two sentences with these words speak of the same thing."""
    enough = len(here & there) >= _ENOUGH_WORDS and jaccard(here, there) >= _SAME_THING
    return enough and _OF_THEIR_OWN.isdisjoint(here | there)


def _told(source: Source) -> Iterator[Citation]:
    for passage in source.passages:
        for sentence in sentences(passage.text):
            yield Citation(source.sha256, sentence.text, passage.start + sentence.start)


def _things(text: str) -> frozenset[str]:
    return frozenset(term for term in terms(text) if not term[0].isdigit())


def _comparable(one: Number, other: Number) -> bool:
    kinds = [number.measure[1] if number.measure else number.value.count(".") > 1 for number in (one, other)]
    return kinds[0] == kinds[1] and kinds[0] is not True


def _agree(one: str, other: str) -> bool:
    return polarity(one).denials == polarity(other).denials


def _opposed(one: str, other: str) -> bool:
    here, there = polarity(one), polarity(other)
    if {here.denials, there.denials} != {0, 1} or here.nearly or there.nearly or _WITHOUT.search(f"{one} {other}"):
        return False
    return bool(here.denied & there.asserted or there.denied & here.asserted)
