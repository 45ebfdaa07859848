"""Which words of a question carry meaning. Pure."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

JOIN: Final = "\u2060"
"""Stands within a name, in place of a blank, while a question is taken apart."""
_WORD: Final = re.compile(rf"[^\W_](?:[\w.+#/{JOIN}-]*[\w+#{JOIN}])?|_\w[\w.]*")
_TECHNICAL: Final = re.compile(rf"\w\.\w|_|[a-z][A-Z]|[A-Za-z]\d|^[A-Z]{{2,}}s?$|\+\+|#$|{JOIN}")
_CODE: Final = re.compile(r"`(\w+)`")
_CALLED: Final = re.compile(
    r"\b(and|as|case|do|else|except|finally|for|from|having|if|in|is|let|not|or|then|unless|until|when|where|while|with)"
    r"\s+(?=(?:statement|clause|loops?|keyword|operator|block)\b)",
    re.IGNORECASE,
)
_VERSION: Final = re.compile(r"[\d.]+\+?")
_ADVERB: Final = re.compile(r"[a-z]{3,}ly")
_EMPTY: Final = re.compile(r"(?:work|behave|matter)s?", re.IGNORECASE)
_DONE: Final = re.compile(r"[a-z]{2,}[^e]ed")
"""What was done to what stands before it: “timeout timed out”. Before a name it belongs to it: “shared memory”."""
_INFLECTION: Final = re.compile(r"(?:s|es|ed|d|ing)$")


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_STOP: Final = _listed(
    """
    a about actually after again all also always am an any anything are aren as ask at be because been before being
    best better between both bring by can cannot choose chosen come compare compared comparison could couldn deep
    describe detail details did didn differ difference differences different do does doesn doing don done each either
    else enough etc even ever every everything exactly explain few find first focus for from further get gets give
    given go going good got had happen happened happening happens has hasn have haven having he help her here his how
    however i if in inside instead into is isn it its itself just kind know last later less let like ll look main make
    makes many may maybe me mean means mention mentioned might missing more most much must my need needed needs never
    new next no nor not now of off often on once one ones only onto or other others ought our out outside over own per
    perhaps please possible properly provide question rather re really regarding report right s said same say see
    several shall she should shouldn show so some someone something sometimes still such sure t take tell than that
    the their them themselves then there these they thing things this those through to together too toward
    under understand until up upon us use used uses using various ve very via want wants was wasn way ways we well
    were what whatever when where whether which while who whom whose why will with within without won would
    wouldn write yes yet you your
    """
)
_VERBS: Final = _listed(
    """
    accept add affect allow appear append apply avoid become begin behave break build call cancel catch cause change
    check close compare connect consider contain convert create deal decide define delete depend detect die enable end
    ensure exit fail fetch fill finish fix follow guarantee handle hang help hold implement improve increase join
    keep kill lead leak learn limit load lock lose manage measure miss move open parse pass prevent print produce
    propagate protect raise reach read receive reduce remove replace reset return rotate run send serve set share
    skip stall start stop store support switch throw treat turn update wait walk watch work wrap write
    """
)
_GENERAL: Final = _listed(
    """
    advantage alternative app application approach area aspect benefit case class code consequence danger
    disadvantage example function idea issue language library method module object option package part problem
    program project python python3 reason result risk script service software solution standard step system
    thing tool topic two type version whole
    """
)
"""Words that narrow a query but are no subject by themselves."""


def with_names(text: str) -> str:
    """`text` with names held together that are no names elsewhere: “the with statement”, “an else clause”, “`for`”."""
    return _CALLED.sub(rf"\1{JOIN}", _CODE.sub(rf"\1{JOIN}", text.replace(JOIN, "")))


def as_written(words: Iterable[str]) -> str:
    """The words, blanks between them, as they stand in a text."""
    return " ".join(" ".join(words).replace(JOIN, " ").split())


def keywords(clause: str) -> list[str]:
    """The words of a clause that carry meaning, each once, in order."""
    carrying = [word for word in _words(clause) if carries(word)]
    return list({word.casefold(): word for word in reversed(carrying)}.values())[::-1]


def asked(clause: str) -> list[str]:
    """The keywords of a clause without what only says that something is asked of them, as in “how does it work”."""
    words = keywords(clause)
    while words and _EMPTY.fullmatch(words[-1]):
        words.pop()
    return words


def terms(clause: str) -> Iterator[list[str]]:
    """The names of things in a clause: neighbouring words that carry meaning and are no verb, `of` between them or not.

    General words are in a term only together with one that says more.
    """
    term: list[str] = []
    for word in [*_words(clause), ""]:
        if word and carries(word) and not _does(word):
            term.append(word)
        elif word.casefold() != "of":
            while term and _DONE.fullmatch(term[-1]):
                term.pop()
            if not all(general(each) for each in term):
                yield term
            term = []


def carries(word: str) -> bool:
    """Whether to search for `word`."""
    return is_technical(word) or word.casefold() not in _STOP


def general(word: str) -> bool:
    """Whether `word` could be said of nearly anything."""
    return (
        word.casefold() in _GENERAL or word.casefold().removesuffix("s") in _GENERAL or bool(_VERSION.fullmatch(word))
    )


def is_technical(word: str) -> bool:
    """Whether a word names something in code: dotted, underscored, camel case, an acronym, or with a digit in it."""
    return _TECHNICAL.search(word) is not None and not _VERSION.fullmatch(word)


def _words(clause: str) -> Iterator[str]:
    return (word for match in _WORD.finditer(clause) if (word := _bare(match.group())))


def _bare(word: str) -> str:
    return word.strip("/-")


def _does(word: str) -> bool:
    """Whether `word` looks like a verb or an adverb. A guess, good enough to tell what a clause is about."""
    lower = word.casefold()
    stem = _INFLECTION.sub("", lower)
    single = stem[:-1] if stem[-2:-1] == stem[-1:] else stem
    return _ADVERB.fullmatch(lower) is not None or not _VERBS.isdisjoint((lower, stem, stem + "e", single))
