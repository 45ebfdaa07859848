"""The writer without a model: the sentences of the evidence that answer the question best. Pure.

Each sub-query in turn selects whole sentences from its passages; if that is less than a page, their sources contribute
more. A sentence that depends on the one before it ("It is …") comes with that one or not at all, and repetitions are
left out. The page begins with the answer and goes on source by source, in each source's order.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from math import ceil, sqrt
from typing import Final

from services.synthesizer.ranking import Candidate, page_subject, rank_sentences
from services.synthesizer.schema import (
    MAX_HEADING,
    MAX_SENTENCE,
    WriterReply,
    WrittenClaim,
    WrittenQuote,
    WrittenSection,
)
from services.synthesizer.sources import number_sources
from shared.contracts.evidence import Finding
from shared.contracts.tasks import SynthesizeTask
from shared.text.sentences import Sentence, blocks, sentences
from shared.text.terms import jaccard, overlap, shingles, terms

PAGE: Final = 15
"""Approximate number of sentences in a report."""
MOST: Final = 10
"""Largest number of sentences in a section."""
ANSWER: Final = 3
"""Approximate number of sentences at the beginning of the page."""
ELSEWHERE: Final = "From other sources"
"""Heading of the sentences that are the only ones of their source."""

_WORTH: Final = 0.25
"""Share of its sub-query's best score below which a sentence is left out."""
_WORTH_THE_PAGE: Final = 0.25
"""Share of the best score of all below which a sentence is left out."""
_WORTH_THE_REST: Final = 0.06
"""The same for further sentences of a quoted source, while the page is not full."""
_SAME_PHRASES: Final = 0.5
_SAME_TERMS: Final = 0.7
_BESIDE: Final = 1.5
_CROWDED: Final = 0.9
_SHORTEST_LINE: Final = 20


def extract_report(task: SynthesizeTask) -> WriterReply:
    """Return about a page of verbatim sentences, each quoting itself; no section if none is relevant."""
    titles = {n: source.title for n, source in enumerate(number_sources(task.findings), start=1)}
    for read in (sentences, paragraphs):
        if found := _relevant(rank_sentences(task, read)):
            return _page_reply(_select(found), titles)
    return WriterReply(sections=[])


def _select(found: Sequence[tuple[Finding, list[Candidate]]]) -> list[Candidate]:
    """Return the sentences that each finding selects, then more of the same sources, up to a page."""
    page, picked = _Page(), list[Candidate]()
    everything = [each for _, candidates in found for each in candidates]
    best = _best(everything)
    for left, (_, candidates) in zip(range(len(found), 0, -1), found, strict=True):
        least = max(_WORTH_THE_PAGE * best, _WORTH * _best(each for each in candidates if not each.leans))
        picked += page.take(candidates, most=max(1, ceil((PAGE - page.said) / left)), least=least)
    told = {each.source for each in picked}
    more = [each for each in everything if each.source in told]
    return picked + page.take(more, most=PAGE - page.said, least=_WORTH_THE_REST * best, beside=picked)


def _best(candidates: Iterable[Candidate]) -> float:
    """Return the highest score; 0 for no candidates."""
    return max((each.score for each in candidates), default=0.0)


def _page_reply(picked: Sequence[Candidate], titles: Mapping[int, str]) -> WriterReply:
    """Return the page: the best stretches first, then the rest by source under its title."""
    said_of = Counter(each.source for each in picked)
    stretches = sorted(_stretches(picked), key=lambda each: _answers(each, said_of), reverse=True)
    answer, rest = _answer(stretches)
    sources: dict[int, list[Candidate]] = {}
    for each in chain.from_iterable(rest):
        sources.setdefault(each.source, []).append(each)
    alone = [each for said in sources.values() if len(said) == 1 for each in said]
    told = [_sections("", _by_source(answer))]
    told += [_sections(page_subject(titles[n]), _in_order(said)) for n, said in sources.items() if len(said) > 1]
    return WriterReply(sections=[*chain.from_iterable(told), *_sections(ELSEWHERE, alone)])


def _answer(stretches: list[list[Candidate]]) -> tuple[list[list[Candidate]], list[list[Candidate]]]:
    """Split stretches into the first `ANSWER` sentences or more, and the rest. A short page has no rest."""
    if sum(map(len, stretches)) <= 2 * ANSWER:
        return stretches, []
    said = 0
    for count, stretch in enumerate(stretches):
        said += len(stretch)
        if said >= ANSWER:
            return stretches[: count + 1], stretches[count + 1 :]
    return stretches, []


def _stretches(picked: Iterable[Candidate]) -> list[list[Candidate]]:
    """Group sentences that follow each other directly, in the order of their sources."""
    stretches: list[list[Candidate]] = []
    for each in _in_order(picked):
        if stretches and each.before and each.before.place == stretches[-1][-1].place:
            stretches[-1].append(each)
        else:
            stretches.append([each])
    return stretches


def _answers(stretch: Sequence[Candidate], said_of: Mapping[int, int]) -> float:
    """Return how well a stretch answers: better if it is long, and if its source has much on the question."""
    return sum(each.answers for each in stretch) / sqrt(len(stretch)) * sqrt(said_of[stretch[0].source])


def _by_source(stretches: Iterable[list[Candidate]]) -> list[Candidate]:
    """Return the sentences, sources in order of first appearance, each in its own order."""
    order: dict[int, int] = {}
    for each in (said := list(chain.from_iterable(stretches))):
        order.setdefault(each.source, len(order))
    return sorted(said, key=lambda each: (order[each.source], each.place))


def _in_order(said: Iterable[Candidate]) -> list[Candidate]:
    """Return the sentences by source and position."""
    return sorted(said, key=lambda each: each.place)


def _sections(heading: str, said: Sequence[Candidate]) -> list[WrittenSection]:
    """Return the sentences as sections of at most `MOST` claims, the first with the heading; none without sentences."""
    short = heading if len(heading) <= MAX_HEADING else f"{heading[: MAX_HEADING - 1]}…"
    claims = [_claim(each) for each in said]
    return [
        WrittenSection(heading="" if at else short, claims=claims[at : at + MOST]) for at in range(0, len(claims), MOST)
    ]


def _relevant(found: Iterable[tuple[Finding, list[Candidate]]]) -> list[tuple[Finding, list[Candidate]]]:
    """Return the findings with the candidates that are about their sub-query and can be understood alone; without empty
    ones.
    """
    fitting = ((it, [each for each in candidates if each.to_the_point and each.stands]) for it, candidates in found)
    return [(finding, candidates) for finding, candidates in fitting if candidates]


def paragraphs(passage: str) -> list[Sentence]:
    """Return whole paragraphs as sentences, for passages without a complete sentence."""
    spans = ((start, end) for start, end in blocks(passage) if _SHORTEST_LINE <= end - start <= MAX_SENTENCE)
    return [Sentence(passage[start:end], start, follows=False) for start, end in spans]


_Taken = dict[tuple[int, int], Candidate]


class _Page:
    """The sentences selected so far, to recognize repetitions."""

    def __init__(self) -> None:
        self._phrases: list[frozenset[tuple[str, ...]]] = []
        self._terms: list[frozenset[str]] = []

    @property
    def said(self) -> int:
        """Number of selected sentences."""
        return len(self._phrases)

    def take(
        self, candidates: Sequence[Candidate], *, most: int, least: float, beside: Iterable[Candidate] = ()
    ) -> list[Candidate]:
        """Select up to `most` new sentences with a score of at least `least`, best first. `beside` are selected
        already.
        """
        taken = {each.place: each for each in beside}
        new: list[Candidate] = []
        while len(new) < min(MOST, most) and (best := self._next(candidates, taken, least)):
            taken[best.place] = best
            new.append(best)
        return new

    def _next(self, candidates: Sequence[Candidate], taken: _Taken, enough: float) -> Candidate | None:
        """Return the best candidate that can be added; `None` if there is none."""
        worth = {each: _worth(each, taken) for each in candidates if _can_stand(each, taken)}
        descending = sorted((each for each in worth if worth[each] >= enough), key=worth.__getitem__, reverse=True)
        return next((each for each in descending if self._is_new(each.text)), None)

    def _is_new(self, text: str) -> bool:
        """Return True if no selected sentence is similar, and then record this one as selected."""
        phrases, words = shingles(text), frozenset(terms(text))
        if any(overlap(phrases, said) >= _SAME_PHRASES for said in self._phrases):
            return False
        if any(jaccard(words, said) >= _SAME_TERMS for said in self._terms):
            return False
        self._phrases.append(phrases)
        self._terms.append(words)
        return True


def _can_stand(candidate: Candidate, taken: _Taken) -> bool:
    """Return True if the sentence is understood alone or after the selected one before it."""
    return not candidate.leans or (candidate.before is not None and candidate.before.place in taken)


def _worth(candidate: Candidate, taken: _Taken) -> float:
    """Return the score, raised beside a selected sentence and lowered for a source that is used much."""
    beside = (candidate.before and candidate.before.place in taken) or any(
        each.before is candidate for each in taken.values()
    )
    crowd = sum(each.source == candidate.source for each in taken.values())
    return candidate.score * (_BESIDE if beside else 1.0) * _CROWDED**crowd


def _claim(candidate: Candidate) -> WrittenClaim:
    """Return the sentence as a claim that quotes itself."""
    return WrittenClaim(text=candidate.text, quotes=[WrittenQuote(source=candidate.source, quote=candidate.text)])
