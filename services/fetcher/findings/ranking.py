"""Selection of documents and passages among the matches of a query. Pure."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Final

from msgspec import Struct

from services.fetcher.findings.passages import Window

RELEVANT: Final = 0.4
"""Weighted share of a query's terms that a document must have to be found."""
MAX_PASSAGES: Final = 3
MAX_CHARS: Final = 2_400
"""Characters of all passages of one document."""
_MIN_SCORE_SHARE: Final = 0.08
"""Share of the best document's score below which a document is left out."""
_MIN_PASSAGE_SHARE: Final = 0.5
"""Share of the best passage's score below which a further passage is left out."""


class Match(Struct, frozen=True):
    """A window that has some of a query's terms. The higher its `relevance`, the better."""

    document: int
    window: Window
    relevance: float
    terms: frozenset[str]


class Selection(Struct, frozen=True):
    """A document and the windows of it to quote, best first."""

    document: int
    windows: tuple[Window, ...]


def rank_documents(matches: Iterable[Match], weights: Mapping[str, float]) -> list[Selection]:
    """Return the relevant documents, best first. `weights` are the terms' shares of the query, 1 in all.

    A document scores as its best window, and a little more for others. Those below `RELEVANT`, or far below the best
    document, are left out.
    """
    judged: list[tuple[float, Selection]] = []
    for document, group in groupby(sorted(matches, key=_document), key=_document):
        chosen = select_matches(group, weights)
        whole = _share(frozenset[str]().union(*(match.terms for match in chosen)), weights)
        if whole >= RELEVANT:
            score = _score(chosen[0], weights) * (1 + whole)
            judged.append((score, Selection(document, tuple(match.window for match in chosen))))
    least = _MIN_SCORE_SHARE * max((value for value, _ in judged), default=0)
    judged.sort(key=lambda pair: (-pair[0], pair[1].document))
    return [chosen for value, chosen in judged if value >= least]


def select_matches(matches: Iterable[Match], weights: Mapping[str, float]) -> list[Match]:
    """Return up to `MAX_PASSAGES` windows of one document to quote, best first, of at most `MAX_CHARS` together.

    More of the query's terms count more than more occurrences of one. `matches` must not be empty.
    """
    best, *others = sorted(matches, key=lambda match: (-_score(match, weights), match.window.start))
    least = _MIN_PASSAGE_SHARE * _score(best, weights)
    return _fit_limits(best, [other for other in others if _score(other, weights) >= least])


def _document(match: Match) -> int:
    """Return the id of the match's document."""
    return match.document


def _share(terms: frozenset[str], weights: Mapping[str, float]) -> float:
    """Return the share of the query that these terms are, 0 to 1."""
    return sum(weights[term] for term in terms)


def _score(match: Match, weights: Mapping[str, float]) -> float:
    """Return the match's relevance times its squared share of the query."""
    return match.relevance * _share(match.terms, weights) ** 2


def _fit_limits(best: Match, others: list[Match]) -> list[Match]:
    """Return `best` and the first of `others` that fit within the limits."""
    quoted, room = [best], MAX_CHARS - _length(best)
    for match in others:
        if len(quoted) < MAX_PASSAGES and _length(match) <= room:
            quoted.append(match)
            room -= _length(match)
    return quoted


def _length(match: Match) -> int:
    """Return the characters of the match's window."""
    return match.window.end - match.window.start
