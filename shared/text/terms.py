"""Terms of a text, to compare it with others: words without endings. Pure."""

import re
from collections.abc import Collection, Iterator
from typing import Final

from shared.text.words import STOP_WORDS, subwords

_TOKEN: Final = re.compile(
    r"""
      (?<=["`])[^\W_]+\*(?=["`]) | __[^\W_]+(?:_[^\W_]+)*__     # names that are no words: `except*`, __exit__
    | [^\W_]+(?:_[^\W_]+)*
    """,
    re.VERBOSE,
)
_SUFFIX: Final = re.compile(r"(?:ations?|(?:er)?(?:ing|ed|s)|ies|er|es|e|y)$")


def terms(text: str) -> Iterator[str]:
    """Yield the terms of `text`, lower case, without stop words: stems of words, and of a compound name the whole and
    its parts.

    `except*` and `__exit__` have no parts: “except” is another clause, and “exit” any end.
    """
    for token in (match.group() for match in _TOKEN.finditer(text)):
        words = token.split("_") if token[0] != "_" and token[-1] != "*" else []
        parts = {part for word in words for part in subwords(word) or [word]} | {token}
        for part in sorted(parts):
            lower = part.casefold()
            if lower not in STOP_WORDS:
                yield _stem(lower)


def shingles(text: str) -> frozenset[tuple[str, ...]]:
    """Return all runs of three words of `text`; one of all its words if there are fewer."""
    words = [word.casefold() for word in _TOKEN.findall(text)]
    return frozenset(zip(words, words[1:], words[2:], strict=False)) or frozenset({tuple(words)})


def overlap(some: Collection[object], others: Collection[object]) -> float:
    """Return the overlap coefficient: the share of the smaller set that is in the other, 0 to 1."""
    common = len(frozenset(some) & frozenset(others))
    return common / min(len(some), len(others)) if common else 0.0


def jaccard(some: Collection[object], others: Collection[object]) -> float:
    """Return the Jaccard index: the share of all elements that are in both sets, 0 to 1."""
    return len(frozenset(some) & frozenset(others)) / (len(frozenset(some) | frozenset(others)) or 1)


def _stem(word: str) -> str:
    """Return `word` without its ending, and without a consonant that the ending doubled."""
    stem = _SUFFIX.sub("", word) if len(word) > 4 else word.removesuffix("s") if len(word) > 3 else word
    return stem[:-1] if len(stem) > 3 and stem[-1] == stem[-2] != "_" else stem
