"""Queries and texts in the form that full-text search takes. Pure."""

import re
from typing import Final

from shared.text.words import CONSTRUCT, QUERY_STOP_WORDS, subwords

MAX_TERMS: Final = 24
_WORD: Final = re.compile(r"\w+")
_IDEOGRAPH: Final = re.compile("([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
_NAME: Final = re.compile(r"\b[A-Za-z]+[a-z][A-Z]\w*|\b[A-Z]{2,}[a-z]\w*")


def query_terms(query: str) -> tuple[str, ...]:
    """Return up to `MAX_TERMS` search terms of `query`, lower case, each once, without stop words; all words if only
    those are left.

    Names of constructs such as “with statement” are one term and come first.
    """
    lower = query.lower()
    words = dict.fromkeys(word for word in _WORD.findall(lower) if word.strip("_"))
    called = [" ".join(name) for name in CONSTRUCT.findall(lower)]
    telling = [word for word in words if word not in QUERY_STOP_WORDS and (len(word) > 1 or not word.isascii())]
    return tuple(dict.fromkeys([*called, *telling] or words))[:MAX_TERMS]


def fts_expression(term: str) -> str:
    """Return `term` as a quoted FTS5 string: no character of it is read as syntax."""
    return '"' + separate_ideographs(term).replace('"', '""').replace("\0", "") + '"'


def indexable_text(text: str) -> str:
    """Return the text to index for `text`: itself, and the words within its names in camel case.

    So "task group" finds `TaskGroup`, and a Chinese word is found within its sentence.
    """
    names = sorted(set(_NAME.findall(text)))
    return separate_ideographs(" ".join([text, *(" ".join(subwords(name)) for name in names)]))


def separate_ideographs(text: str) -> str:
    """Return `text` with blanks around each ideograph, which the tokenizer would otherwise join to one long word."""
    return _IDEOGRAPH.sub(r" \1 ", text)
