"""The writer that needs no model: the sentences of the evidence that say most about what was asked. Pure.

For each sub-query a section, in the order of the plan. Of its passages it takes whole sentences,
word for word, and sets them in the order in which their source has them. A sentence that leans on
the one before it ("It is …") comes with that one or not at all; what was said is not said again.
"""

from collections.abc import Iterable, Sequence
from math import ceil
from typing import Final

from services.synthesizer.ranking import Candidate, ranked
from services.synthesizer.reply import (
    MAX_HEADING,
    MAX_SECTIONS,
    MAX_SENTENCE,
    WriterReply,
    WrittenClaim,
    WrittenQuote,
    WrittenSection,
)
from services.synthesizer.sentences import Sentence, blocks, sentences
from services.synthesizer.terms import alike, held, shingles, terms
from shared.contracts.evidence import Finding
from shared.contracts.tasks import SynthesizeTask

PAGE: Final = 15
"""Sentences of a report, about."""
MOST: Final = 10
"""Sentences of one section."""

_WORTH: Final = 0.25
"""A sentence that scores less than this part of its section's best is not worth saying."""
_SAME_PHRASES: Final = 0.5
_SAME_TERMS: Final = 0.7
_BESIDE: Final = 1.25
_CROWDED: Final = 0.9
_SHORTEST_LINE: Final = 20


def extract(task: SynthesizeTask) -> WriterReply:
    """About a page of verbatim sentences, each quoting itself; no section where the evidence has no prose at all."""
    for read in (sentences, paragraphs):
        found = ranked(task, read)
        if found:
            return _written(_to_the_point(found) or found)
    return WriterReply(sections=[])


def _written(found: Sequence[tuple[Finding, list[Candidate]]]) -> WriterReply:
    """A section for each finding. What one leaves of its share of the page, the later ones get."""
    page, sections = _Page(), list[WrittenSection]()
    for left, (finding, candidates) in zip(range(min(len(found), MAX_SECTIONS), 0, -1), found, strict=False):
        claims = page.take(candidates, share=ceil((PAGE - page.said) / left))
        sections += [WrittenSection(heading=_heading(finding.query), claims=claims)] if claims else []
    return WriterReply(sections=sections)


def _to_the_point(found: Iterable[tuple[Finding, list[Candidate]]]) -> list[tuple[Finding, list[Candidate]]]:
    """The findings with what speaks of their sub-query, less those where only a stray word of it was met."""
    fitting = ((finding, [each for each in candidates if each.to_the_point]) for finding, candidates in found)
    return [(finding, candidates) for finding, candidates in fitting if candidates]


def paragraphs(passage: str) -> list[Sentence]:
    """Whole stretches of prose, complete sentences or not: what there is to say where no sentence reads well."""
    spans = ((start, end) for start, end in blocks(passage) if _SHORTEST_LINE <= end - start <= MAX_SENTENCE)
    return [Sentence(passage[start:end], start, follows=False) for start, end in spans]


_Taken = dict[tuple[int, int], Candidate]


class _Page:
    """What was said so far."""

    def __init__(self) -> None:
        self._phrases: list[frozenset[tuple[str, ...]]] = []
        self._terms: list[frozenset[str]] = []

    @property
    def said(self) -> int:
        """How many sentences the page has."""
        return len(self._phrases)

    def take(self, candidates: Sequence[Candidate], *, share: int) -> list[WrittenClaim]:
        """The best of `candidates` that say something new, in reading order; one at least may be said."""
        most = max(1, min(MOST, share))
        taken: _Taken = {}
        enough = _WORTH * max((each.score for each in candidates if not each.leans), default=0.0)
        while len(taken) < most and (best := self._next(candidates, taken, enough)):
            taken[best.place] = best
        return [_claim(candidate) for candidate in _in_reading_order(taken.values())]

    def _next(self, candidates: Sequence[Candidate], taken: _Taken, enough: float) -> Candidate | None:
        worth = {each: _worth(each, taken) for each in candidates if _can_stand(each, taken)}
        descending = sorted((each for each in worth if worth[each] >= enough), key=worth.__getitem__, reverse=True)
        return next((each for each in descending if self._is_new(each.text)), None)

    def _is_new(self, text: str) -> bool:
        """Whether nothing said so far is much the same. What is new counts as said from then on."""
        phrases, words = shingles(text), frozenset(terms(text))
        if any(held(phrases, said) >= _SAME_PHRASES for said in self._phrases):
            return False
        if any(alike(words, said) >= _SAME_TERMS for said in self._terms):
            return False
        self._phrases.append(phrases)
        self._terms.append(words)
        return True


def _can_stand(candidate: Candidate, taken: _Taken) -> bool:
    """Whether it would say what it means: by itself, or after what it leans on."""
    return not candidate.leans or (candidate.before is not None and candidate.before.place in taken)


def _worth(candidate: Candidate, taken: _Taken) -> float:
    """The score; higher right beside what was taken, since that reads better, and lower for a source much used."""
    beside = (candidate.before and candidate.before.place in taken) or any(
        each.before is candidate for each in taken.values()
    )
    crowd = sum(each.source == candidate.source for each in taken.values())
    return candidate.score * (_BESIDE if beside else 1.0) * _CROWDED**crowd


def _in_reading_order(taken: Iterable[Candidate]) -> list[Candidate]:
    """The sources by their best sentence, and the sentences of each as they stand in it."""
    best: dict[int, float] = {}
    chosen = list(taken)
    for candidate in chosen:
        best[candidate.source] = max(candidate.score, best.get(candidate.source, 0.0))
    return sorted(chosen, key=lambda candidate: (-best[candidate.source], candidate.place))


def _claim(candidate: Candidate) -> WrittenClaim:
    return WrittenClaim(text=candidate.text, quotes=[WrittenQuote(source=candidate.source, quote=candidate.text)])


def _heading(query: str) -> str:
    return " ".join(query.split())[:MAX_HEADING]
