"""Words of a text: those without meaning of their own, names in code, and the words within a name. Pure."""

import re
from typing import Final

_TECHNICAL: Final = re.compile(r"[^\W\d]\.[^\W\d]|\w_|_\w|[a-z][A-Z]|[A-Za-z]\d|\d[A-Z]|^[A-Z]{2,}s?$|\+\+|#$")
_SUBWORD: Final = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
CONSTRUCT: Final = re.compile(
    r"\b(and|as|case|do|else|except|finally|for|from|having|if|in|is|let|not|or|then|unless|until|when|where|while|with)"
    r"\s+(?=(statement|clause|loops?|keyword|operator|block)\b)",
    re.IGNORECASE,
)
"""Constructs of languages that are named by a stop word: “with statement”. Groups: that word, and the kind after it."""


def word_list(words: str) -> tuple[str, ...]:
    """Return the words of a list that is written as one text, in order."""
    return tuple(words.split())


def word_set(words: str) -> frozenset[str]:
    """Return the words of a list that is written as one text."""
    return frozenset(words.split())


STOP_WORDS: Final = word_set(
    """
    a about all also an and any are as at be because been before being between both but by can could did do does
    doing don each either etc for from get had has have how if in into is isn it its just may me might more most
    must my no nor not of on once one only or other our out over own per s same shall she should so some such t than
    that the their them then there these they this those through to too under until up us use used uses using very
    was way we were what when where whether which while who whom whose why will with within without would you your
    """
)
"""English words, lower case, that say nothing about the subject of a text. Contractions stand without their ending."""
QUERY_STOP_WORDS: Final = STOP_WORDS | word_set(
    """
    above after again am among below cannot compare compared describe differ difference differences done down during
    every explain few further give having he her here hers him his i itself let like made make many much off ought
    please show since tell upon versus via vs
    """
)
"""Also the words that say nothing about the subject of a question or of a query."""


def is_technical(word: str) -> bool:
    """Return True for a name in code: dotted, underscored, camel case, an acronym, or letters and digits."""
    return _TECHNICAL.search(word) is not None


def subwords(name: str) -> list[str]:
    """Return the words within a name in camel case, with its runs of digits, in order; none for other scripts."""
    return _SUBWORD.findall(name)
