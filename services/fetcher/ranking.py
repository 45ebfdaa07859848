"""Which documents answer a query, and with which passages. Pure: the index finds, this judges."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Final

from msgspec import Struct

from services.fetcher.passages import Window

RELEVANT: Final = 0.4
"""The share of a query, by the weight of its terms, that a document must have to be an answer to it."""
MAX_PASSAGES: Final = 3
MAX_CHARS: Final = 2_400
"""Of all passages of one document."""
_BESIDE_BEST: Final = 0.08
"""How good a document must be, beside the best one, to be shown with it."""
_WORTH_ADDING: Final = 0.5
"""How good a further passage must be, beside the best one."""


class Match(Struct, frozen=True):
    """A window that has some of a query's terms. The higher its `relevance`, the better."""

    document: int
    window: Window
    relevance: float
    terms: frozenset[str]


class Chosen(Struct, frozen=True):
    """A document and the windows of it to quote, best first."""

    document: int
    windows: tuple[Window, ...]


def ranked(matches: Iterable[Match], weights: Mapping[str, float]) -> list[Chosen]:
    """The relevant documents, best first. `weights` says how telling each term is, 1 together.

    A window that has more of the query goes before one that has the same word more often; a
    document is as good as its best window, and a little better for what others add.
    """

    def share(terms: frozenset[str]) -> float:
        return sum(weights[term] for term in terms)

    def score(match: Match) -> float:
        return match.relevance * share(match.terms) ** 2

    judged: list[tuple[float, Chosen]] = []
    ordered = sorted(matches, key=lambda match: (match.document, -score(match), match.window.start))
    for document, group in groupby(ordered, key=lambda match: match.document):
        best, *others = group
        quoted = _quoted(best, [other for other in others if score(other) >= _WORTH_ADDING * score(best)])
        whole = share(frozenset[str]().union(*(match.terms for match in quoted)))
        if whole >= RELEVANT:
            judged.append((score(best) * (1 + whole), Chosen(document, tuple(match.window for match in quoted))))
    least = _BESIDE_BEST * max((value for value, _ in judged), default=0)
    judged.sort(key=lambda pair: (-pair[0], pair[1].document))
    return [chosen for value, chosen in judged if value >= least]


def _quoted(best: Match, others: list[Match]) -> list[Match]:
    quoted, room = [best], MAX_CHARS - _length(best)
    for match in others:
        if len(quoted) < MAX_PASSAGES and _length(match) <= room:
            quoted.append(match)
            room -= _length(match)
    return quoted


def _length(match: Match) -> int:
    return match.window.end - match.window.start
