"""Words of a question: names, keywords, and words that only ask. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from shared.text.words import CONSTRUCT, QUERY_STOP_WORDS, is_technical, word_set

JOIN: Final = "\u2060"
"""Replaces the blank within a name while a question is split."""
_WORD: Final = re.compile(rf"[^\W_](?:[\w.+#/{JOIN}-]*[\w+#{JOIN}])?|_\w[\w.]*")
_CODE: Final = re.compile(r"`(\w+)`")
_VERSION: Final = re.compile(r"[\d.]+\+?")
_ADVERB: Final = re.compile(r"[a-z]{3,}ly")
_EMPTY: Final = re.compile(r"(?:work|behave|matter)s?", re.IGNORECASE)
_DONE: Final = re.compile(r"[a-z]{2,}[^e]ed")
"""Participle after a noun, as in “timeout timed out”. Before a noun it is part of the name: “shared memory”."""
_INFLECTION: Final = re.compile(r"(?:s|es|ed|d|ing)$")


_STOP: Final = QUERY_STOP_WORDS | word_set(
    """
    actually always anything aren ask best better bring choose chosen come comparison couldn deep detail details
    didn different doesn else enough even ever everything exactly find first focus gets given go going good got
    happen happened happening happens hasn haven help however inside instead kind know last later less ll look main
    makes maybe mean means mention mentioned missing need needed needs never new next now often ones onto others
    outside perhaps possible properly provide question rather re really regarding report right said say see several
    shouldn someone something sometimes still sure take themselves thing things together toward understand various
    ve want wants wasn ways well whatever won wouldn write yes yet
    """
)
"""Stop words of queries and words that only ask for a report."""
_VERBS: Final = word_set(
    """
    accept add affect allow appear append apply avoid become begin behave break build call cancel catch cause change
    check close compare connect consider contain convert create deal decide define delete depend detect die enable end
    ensure exit fail fetch fill finish fix follow guarantee handle hang help hold implement improve increase join
    keep kill lead leak learn limit load lock lose manage measure miss move open parse pass prevent print produce
    propagate protect raise reach read receive reduce remove replace reset return rotate run send serve set share
    skip stall start stop store support switch throw treat turn update wait walk watch work wrap write
    """
)
_GENERAL: Final = word_set(
    """
    advantage alternative app application approach area aspect benefit case class code consequence danger
    disadvantage example function idea issue language library method module object option package part problem
    program project python python3 reason result risk script service software solution standard step system
    thing tool topic two type version whole
    """
)
"""Words that narrow a query but are no subject by themselves."""


def mark_names(text: str) -> str:
    """Return `text` with names held together by `JOIN` that are stop words elsewhere: “with statement”, “else clause”,
    “`for`”.
    """
    return CONSTRUCT.sub(rf"\1{JOIN}", _CODE.sub(rf"\1{JOIN}", text.replace(JOIN, "")))


def join_words(words: Iterable[str]) -> str:
    """Join words with blanks; a `JOIN` within a name becomes a blank again."""
    return " ".join(" ".join(words).replace(JOIN, " ").split())


def keywords(clause: str) -> list[str]:
    """Return the words of a clause that are worth searching for, each once (case-insensitively), in order."""
    carrying = [word for word in _words(clause) if is_meaningful(word)]
    return list({word.casefold(): word for word in reversed(carrying)}.values())[::-1]


def asked_keywords(clause: str) -> list[str]:
    """Return the keywords of a clause without a final “work”, “behave” or “matter”, as in “how does it work”."""
    words = keywords(clause)
    while words and _EMPTY.fullmatch(words[-1]):
        words.pop()
    return words


def noun_phrases(clause: str) -> Iterator[list[str]]:
    """Yield the names in a clause: neighbouring meaningful words that are no verbs, also with `of` between them.

    A name of general words alone is left out.
    """
    term: list[str] = []
    for word in [*_words(clause), ""]:
        if word and is_meaningful(word) and not _looks_like_verb(word):
            term.append(word)
        elif word.casefold() != "of":
            while term and _DONE.fullmatch(term[-1]):
                term.pop()
            if not all(is_general(each) for each in term):
                yield term
            term = []


def is_meaningful(word: str) -> bool:
    """Return True if a word is worth searching for: a name in code, or no stop word."""
    return is_code_name(word) or word.casefold() not in _STOP


def is_general(word: str) -> bool:
    """Return True for a version number, and for a word that fits nearly any subject, in singular or plural."""
    return (
        word.casefold() in _GENERAL or word.casefold().removesuffix("s") in _GENERAL or bool(_VERSION.fullmatch(word))
    )


def is_code_name(word: str) -> bool:
    """Return True for a name in code, or one held together by `mark_names`."""
    return JOIN in word or is_technical(word)


def _words(clause: str) -> Iterator[str]:
    """Yield the words of a clause without hyphens and slashes at their ends."""
    return (word for match in _WORD.finditer(clause) if (word := _bare(match.group())))


def _bare(word: str) -> str:
    """Remove hyphens and slashes at both ends."""
    return word.strip("/-")


def _looks_like_verb(word: str) -> bool:
    """Return True if `word` looks like a verb or an adverb. A heuristic by word list and endings."""
    lower = word.casefold()
    stem = _INFLECTION.sub("", lower)
    single = stem[:-1] if stem[-2:-1] == stem[-1:] else stem
    return _ADVERB.fullmatch(lower) is not None or not _VERBS.isdisjoint((lower, stem, stem + "e", single))
