"""Contradictions between sources: the same statement with another number, or denied. Pure.

The rule finds few and is nearly always right: two sentences must have the same words but for one number, or one denial.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from services.synthesizer.entities import names, polarity
from services.synthesizer.numbers import Number, contains_number, numbers
from services.synthesizer.ranking import independence, leans_on_previous
from shared.contracts.evidence import Citation, Conflict, Source
from shared.text.sentences import sentences
from shared.text.terms import jaccard, terms

MOST: Final = 5
"""Largest number of contradictions in a report."""
_SAME_THING: Final = 0.75
"""Share of common terms from which two sentences have the same subject."""
_ENOUGH_WORDS: Final = 4
_STANDS_ALONE: Final = 0.55
"""Smallest `independence` of a contradicting sentence; others may refer to different subjects by the same words."""
_WITHOUT: Final = re.compile(r"\bwithout\b", re.IGNORECASE)
_OF_THEIR_OWN: Final = frozenset(terms("version versions since release deprecated added changed"))
"""Terms of sentences that state different numbers without contradiction."""


def contradictions(quoted: Iterable[Citation], sources: Sequence[Source]) -> Iterator[Conflict]:
    """Yield the pairs of a quoted sentence and one of another origin that contradicts it, each pair once."""
    origins = {source.sha256: source.origin or source.sha256 for source in sources}
    told = [(sentence, _subject_terms(sentence.quote)) for source in sources for sentence in _sentences_of(source)]
    seen = set[frozenset[Citation]]()
    for citation in dict.fromkeys(quoted):
        things = _subject_terms(citation.quote)
        for other, theirs in told:
            pair = frozenset((citation, other))
            if (
                pair in seen
                or origins[citation.sha256] == origins[other.sha256]
                or not _have_same_subject(things, theirs)
            ):
                continue
            if about := difference(citation.quote, other.quote):
                seen.add(pair)
                yield Conflict(about, citation, other)


def difference(one: str, other: str) -> str:
    """Return the difference between two contradicting sentences in words; empty if they do not
    contradict each other.
    """
    if not _have_same_subject(_subject_terms(one), _subject_terms(other)):
        return ""
    if {name.casefold() for name in names(one)} != {name.casefold() for name in names(other)}:
        return ""
    if any(leans_on_previous(text) or independence(text) < _STANDS_ALONE for text in (one, other)):
        return ""
    mine = [number for number in numbers(one) if not contains_number(other, number)]
    yours = [number for number in numbers(other) if not contains_number(one, number)]
    if len(mine) == len(yours) == 1 and _are_comparable(mine[0], yours[0]) and _agree(one, other):
        return f"{mine[0].said} or {yours[0].said}?"
    return "One says it, the other denies it." if not mine and not yours and _are_opposed(one, other) else ""


def _have_same_subject(here: frozenset[str], there: frozenset[str]) -> bool:
    """Return True if sentences with these terms are about the same subject."""
    enough = len(here & there) >= _ENOUGH_WORDS and jaccard(here, there) >= _SAME_THING
    return enough and _OF_THEIR_OWN.isdisjoint(here | there)


def _sentences_of(source: Source) -> Iterator[Citation]:
    """Yield each sentence of a source's passages with its position in the text."""
    for passage in source.passages:
        for sentence in sentences(passage.text):
            yield Citation(source.sha256, sentence.text, passage.start + sentence.start)


def _subject_terms(text: str) -> frozenset[str]:
    """Return the terms of a text that are no numbers."""
    return frozenset(term for term in terms(text) if not term[0].isdigit())


def _are_comparable(one: Number, other: Number) -> bool:
    """Return True if both numbers have the same kind of unit, or none and neither is a version."""
    kinds = [number.measure[1] if number.measure else number.value.count(".") > 1 for number in (one, other)]
    return kinds[0] == kinds[1] and kinds[0] is not True


def _agree(one: str, other: str) -> bool:
    return polarity(one).denials == polarity(other).denials


def _are_opposed(one: str, other: str) -> bool:
    """Return True if exactly one of the two sentences denies a term that the other asserts."""
    here, there = polarity(one), polarity(other)
    if {here.denials, there.denials} != {0, 1} or here.nearly or there.nearly or _WITHOUT.search(f"{one} {other}"):
        return False
    return bool(here.denied & there.asserted or there.denied & here.asserted)
