"""Words as a ranking compares them. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from math import log
from typing import Final

_TOKEN: Final = re.compile(
    r"""
      (?<=["`])[^\W_]+\*(?=["`]) | __[^\W_]+(?:_[^\W_]+)*__     # names that are no words: `except*`, __exit__
    | [^\W_]+(?:_[^\W_]+)*
    """,
    re.VERBOSE,
)
_CAMEL: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SUFFIX: Final = re.compile(r"(?:ations?|(?:er)?(?:ing|ed|s)|ies|er|es|e|y)$")
_STOP: Final = frozenset(
    re.findall(
        r"\w+",
        """
        a about all also an and any are as at be because been before being between both but by can could did do does
        doing don each either etc for from get had has have how if in into is isn it its just may me might more most
        must my no nor not of on once one only or other our out over own per s same shall she should so some such t than
        that the their them then there these they this those through to too under until up us use used uses using very
        was way we were what when where whether which while who whom whose why will with within without would you your
        """,
    )
)
_SATURATION: Final = 1.2
_LENGTH: Final = 0.5


def listed(words: str) -> tuple[str, ...]:
    """The words of a list that is written as one text."""
    return tuple(words.split())


def terms(text: str) -> Iterator[str]:
    """The terms of `text`: words without their endings, and of a compound name the whole and its parts.

    `except*` and `__exit__` have no parts: “except” is another clause, and “exit” any end.
    """
    for token in (match.group() for match in _TOKEN.finditer(text)):
        words = token.split("_") if token[0] != "_" and token[-1] != "*" else []
        parts = {part for word in words for part in _CAMEL.findall(word) or [word]} | {token}
        for part in sorted(parts):
            lower = part.casefold()
            if lower not in _STOP:
                yield _stem(lower)


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Every three neighbouring words of `text`; all of its words where it has no more."""
    words = [word.casefold() for word in _TOKEN.findall(text)]
    return frozenset(zip(words, words[1:], words[2:], strict=False)) or frozenset({tuple(words)})


def held(some: Collection[object], others: Collection[object]) -> float:
    """How much of the smaller of two sets is in the other too, from 0 to 1."""
    common = len(frozenset(some) & frozenset(others))
    return common / min(len(some), len(others)) if common else 0.0


def alike(some: Collection[object], others: Collection[object]) -> float:
    """How much of two sets together is in both, from 0 to 1."""
    return len(frozenset(some) & frozenset(others)) / (len(frozenset(some) | frozenset(others)) or 1)


class Relevance:
    """BM25 over a pool of sentences."""

    def __init__(self, pool: Iterable[str]) -> None:
        counted = [Counter(terms(text)) for text in pool]
        self._carriers = Counter(term for counts in counted for term in counts)
        self._size = len(counted)
        self._mean = sum(counts.total() for counts in counted) / max(1, self._size) or 1.0

    def of(self, text: str, wanted: dict[str, float]) -> float:
        """How much `text` says about the wanted terms, each by its weight."""
        counts = Counter(terms(text))
        damping = _SATURATION * (1 - _LENGTH + _LENGTH * counts.total() / self._mean)
        return sum(
            weight * self._rarity(term) * counts[term] * (_SATURATION + 1) / (counts[term] + damping)
            for term, weight in wanted.items()
            if counts[term]
        )

    def _rarity(self, term: str) -> float:
        carriers = self._carriers[term]
        return log(1 + (self._size - carriers + 0.5) / (carriers + 0.5))


def _stem(word: str) -> str:
    """`word` without its ending, and without the consonant that the ending doubled."""
    stem = _SUFFIX.sub("", word) if len(word) > 4 else word.removesuffix("s") if len(word) > 3 else word
    return stem[:-1] if len(stem) > 3 and stem[-1] == stem[-2] != "_" else stem
