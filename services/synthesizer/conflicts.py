"""Contradictions between sources: the same statement with another number, or denied. Pure.

The rule finds few and is nearly always right: two sentences must have the same words but for one number, or one denial.
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
    """Yield the pairs of a quoted sentence and one of another origin that contradicts it, each pair once."""
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
    """Return the difference between two contradicting sentences in words; empty if they do not
    contradict each other.
    """
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
    """Return True if sentences with these terms are about the same subject."""
    enough = len(here & there) >= _ENOUGH_WORDS and jaccard(here, there) >= _SAME_THING
    return enough and _OF_THEIR_OWN.isdisjoint(here | there)


def _told(source: Source) -> Iterator[Citation]:
    """Yield each sentence of a source's passages with its position in the text."""
    for passage in source.passages:
        for sentence in sentences(passage.text):
            yield Citation(source.sha256, sentence.text, passage.start + sentence.start)


def _things(text: str) -> frozenset[str]:
    """Return the terms of a text that are no numbers."""
    return frozenset(term for term in terms(text) if not term[0].isdigit())


def _comparable(one: Number, other: Number) -> bool:
    """Return True if both numbers have the same kind of unit, or none and neither is a version."""
    kinds = [number.measure[1] if number.measure else number.value.count(".") > 1 for number in (one, other)]
    return kinds[0] == kinds[1] and kinds[0] is not True


def _agree(one: str, other: str) -> bool:
    return polarity(one).denials == polarity(other).denials


def _opposed(one: str, other: str) -> bool:
    """Return True if exactly one of the two sentences denies a term that the other asserts."""
    here, there = polarity(one), polarity(other)
    if {here.denials, there.denials} != {0, 1} or here.nearly or there.nearly or _WITHOUT.search(f"{one} {other}"):
        return False
    return bool(here.denied & there.asserted or there.denied & here.asserted)
