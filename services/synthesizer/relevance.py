"""Relevance of a sentence to weighted terms, by BM25. Pure."""

from collections import Counter
from collections.abc import Iterable
from math import log
from typing import Final

from shared.text.terms import terms

_SATURATION: Final = 1.2
_LENGTH: Final = 0.5


class Relevance:
    """BM25 over a pool of sentences."""

    def __init__(self, pool: Iterable[str]) -> None:
        counted = [Counter(terms(text)) for text in pool]
        self._carriers = Counter(term for counts in counted for term in counts)
        self._size = len(counted)
        self._mean = sum(counts.total() for counts in counted) / max(1, self._size) or 1.0

    def of(self, text: str, wanted: dict[str, float]) -> float:
        """Return the relevance of `text` to the wanted terms, each with its weight; 0 if it has none of them."""
        counts = Counter(terms(text))
        damping = _SATURATION * (1 - _LENGTH + _LENGTH * counts.total() / self._mean)
        return sum(
            weight * self._rarity(term) * counts[term] * (_SATURATION + 1) / (counts[term] + damping)
            for term, weight in wanted.items()
            if counts[term]
        )

    def _rarity(self, term: str) -> float:
        """Return the inverse document frequency of a term."""
        carriers = self._carriers[term]
        return log(1 + (self._size - carriers + 0.5) / (carriers + 0.5))
