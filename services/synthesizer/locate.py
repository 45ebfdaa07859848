"""Position of a quote in its source: exact, in other typography, or nearly exact. Pure.

Only the source's passages are searched: the decider has seen those, and nothing else may be published. The result is
always the source's own wording.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from rapidfuzz import fuzz
from rapidfuzz.distance import Levenshtein

from services.synthesizer.entities import names, polarity
from services.synthesizer.numbers import numbers
from shared.contracts.evidence import Citation, Passage, Source
from shared.text.terms import terms
from shared.text.words import word_set

MIN_QUOTE: Final = 12
"""Smallest length of a quote in characters; shorter ones stand in any text."""
MIN_NEARLY: Final = 40
"""Characters from which a quote need not be exact."""
NEARLY: Final = 90.0
"""Smallest similarity of a near match, in per cent."""
_SLACK: Final = 16
"""Characters by which the first guess of a near match may be off at its ends."""

_ALIKE: Final = ("'‘’‚‛′`´", '"“”„‟″«»', "-‐‑‒–—―−")
_LIKE: Final = {mark: f"[{re.escape(marks)}]" for marks in _ALIKE for mark in marks}
_OUTER: Final = " \"'.…"
_WORD: Final = re.compile(r"\w+")
_FREE: Final = word_set("a an the that and of is are was were be been has have had")
"""Words that may be added or missing without a change of meaning. `not`, `may` and `from` are none."""
_TYPO: Final = 5
"""Letters from which a word may differ in one letter, except the first."""


@lru_cache(maxsize=1_024)
def locate(quote: str, source: Source) -> Citation | None:
    """Return the citation of `quote` in one of the source's passages, in the source's own wording; `None` if it is not
    there.

    An exact match comes first; then one with other white space, quotation marks and dashes, and without outer marks;
    then, for a quote of `MIN_NEARLY` characters, a near match with the same numbers, names and negations.
    """
    for passage in source.passages:
        if (start := passage.text.find(quote)) >= 0 and _is_substantial(quote, passage):
            return Citation(source.sha256, quote, passage.start + start)
    for wanted in (quote, quote.strip(_OUTER)):
        pattern = _pattern(wanted)
        for passage in source.passages:
            if (match := pattern.search(passage.text)) and _is_substantial(wanted, passage):
                return Citation(source.sha256, match.group(), passage.start + match.start())
    return max(_near_matches(quote.strip(_OUTER), source), key=lambda found: found[0], default=(0.0, None))[1]


def _pattern(quote: str) -> re.Pattern[str]:
    """Return a pattern that matches the quote with any white space, quotation marks and dashes."""
    words = ("".join(_LIKE.get(character, re.escape(character)) for character in word) for word in quote.split())
    return re.compile(r"\s+".join(words))


def _is_substantial(quote: str, passage: Passage) -> bool:
    """Return True if the quote is long enough to be evidence, or is its whole passage."""
    return len(quote.strip()) >= min(MIN_QUOTE, max(1, len(passage.text.strip())))


def _near_matches(quote: str, source: Source) -> Iterator[tuple[float, Citation]]:
    """Yield similarity (per cent) and citation of the best near match in each passage."""
    if len(quote) < MIN_NEARLY:
        return
    for passage in source.passages:
        found = fuzz.partial_ratio_alignment(quote, passage.text, score_cutoff=NEARLY)
        if found and len(quote) <= len(passage.text):
            start, end = _whole_words(quote, passage.text, found.dest_start, found.dest_end)
            place = passage.text[start:end]
            if mean_the_same(quote, place):
                yield fuzz.ratio(quote, place), Citation(source.sha256, place, passage.start + start)


def _whole_words(quote: str, text: str, start: int, end: int) -> tuple[int, int]:
    """Return the span of whole words around `start` and `end` that is most similar to the quote."""
    words = [match.span() for match in _WORD.finditer(text)]
    starts = [first for first, _ in words if abs(first - start) <= _SLACK]
    ends = [last for _, last in words if abs(last - end) <= _SLACK]
    spans = [(first, last) for first in starts for last in ends if first < last]
    return max(spans, key=lambda span: fuzz.ratio(quote, text[slice(*span)]), default=(start, end))


def mean_the_same(one: str, other: str) -> bool:
    """Return True if two similar texts mean the same: they differ only in inflections, typing errors and articles."""
    if set(numbers(one)) != set(numbers(other)) or polarity(one).denials != polarity(other).denials:
        return False
    if {name.casefold() for name in names(one)} != {name.casefold() for name in names(other)}:
        return False
    here, there = Counter(_words(one)), Counter(_words(other))
    return _are_variants(list((here - there).elements()), list((there - here).elements()))


def _words(text: str) -> Iterator[str]:
    """Yield the words, case folded, without those in `_FREE`."""
    return (word for match in _WORD.finditer(text) if (word := match.group().casefold()) not in _FREE)


def _are_variants(some: list[str], others: list[str]) -> bool:
    """Return True if each word that only one text has is an inflection or a misspelling of one that
    only the other has.
    """
    return len(some) == len(others) and all(
        any(_stem(word) == _stem(other) or _is_misspelling(word, other) for other in others) for word in some
    )


def _stem(word: str) -> tuple[str, ...]:
    """Return the terms of a word; the word itself if it has none."""
    return tuple(terms(word)) or (word,)


def _is_misspelling(word: str, other: str) -> bool:
    """Return True if the words differ in one letter, not the first."""
    return min(len(word), len(other)) >= _TYPO and word[0] == other[0] and Levenshtein.distance(word, other) == 1
