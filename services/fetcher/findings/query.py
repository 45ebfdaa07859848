"""A sub-query taken apart into what full-text search can look for. Pure."""

import re
from typing import Final

MAX_TERMS: Final = 24
_WORD: Final = re.compile(r"\w+")
_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_CALLED: Final = re.compile(
    r"\b(?:and|as|for|from|having|if|in|is|let|not|or|until|when|where|while|with)"
    r"\s+(?:statement|clause|loops?|keyword|operator|block)\b"
)
"""What is called by a word that is no name elsewhere, as in “with statement”."""
_IDEOGRAPH: Final = re.compile("([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
_NAME: Final = re.compile(r"\b[A-Za-z]+[a-z][A-Z]\w*|\b[A-Z]{2,}[a-z]\w*")


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_STOP_WORDS: Final = _listed(
    """
    a about above after again all also am among an and any are as at be because been before being below between both
    but by can cannot compare compared could describe did difference differences differ do does doing done down
    during each either etc every explain few for from further get give had has have having he her here hers him his
    how i if in into is it its itself just let like made make many may me might more most much must my no nor not of
    off on once one only or other ought our out over own per please same shall she should show since so some such
    tell than that the their them then there these they this those through to too under until up upon us use used
    uses using versus very via vs was we were what when where whether which while who whom whose why will with
    within without would you your
    """
)


def terms(query: str) -> tuple[str, ...]:
    """The words of `query` worth looking for, lower case, each once; all its words where none is worth it."""
    lower = query.lower()
    words = dict.fromkeys(word for word in _WORD.findall(lower) if word.strip("_"))
    called = [" ".join(name.split()) for name in _CALLED.findall(lower)]
    telling = [word for word in words if word not in _STOP_WORDS and (len(word) > 1 or not word.isascii())]
    return tuple(dict.fromkeys([*called, *telling] or words))[:MAX_TERMS]


def expression(term: str) -> str:
    """`term` as an FTS5 expression that means nothing but this term, whatever characters it has."""
    return '"' + spaced(term).replace('"', '""').replace("\0", "") + '"'


def searchable(text: str) -> str:
    """What is indexed for `text`: itself, and the words within its compound names.

    So "task group" finds `TaskGroup`, and a Chinese word is found within its sentence.
    """
    names = {name for name in _NAME.findall(text) if _HUMP.search(name)}
    return spaced(" ".join([text, *sorted(_HUMP.sub(" ", name) for name in names)]))


def spaced(text: str) -> str:
    """`text` with blanks around each ideograph, which the tokenizer would otherwise take for one long word."""
    return _IDEOGRAPH.sub(r" \1 ", text)
