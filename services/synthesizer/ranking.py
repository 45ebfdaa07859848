"""Scores of the sentences of the evidence for a report. Pure."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.synthesizer.relevance import Relevance
from services.synthesizer.sources import number_sources
from shared.contracts.evidence import Finding, Passage
from shared.contracts.tasks import SynthesizeTask
from shared.text.sentences import Sentence
from shared.text.terms import terms

Reader = Callable[[str], list[Sentence]]
"""Returns the sentences of a passage."""

_QUESTION_WEIGHT: Final = 0.4
_TITLE_WEIGHT: Final = 0.3
_BOTH_WEIGHT: Final = 1.5
"""Weight of a term of the sub-query that is also in the question: it is the subject."""
_STRAY: Final = 0.4
"""Factor for a source whose title has no term of question and sub-query."""
_DEFINES: Final = 1.5
"""Factor for a sentence that begins with the subject and defines it."""
_STANDS: Final = 0.4
"""Smallest `independence` of a sentence that may be selected."""
_LEANING: Final = 0.5
"""Factor for a sentence that refers to the one before it."""
_IS: Final = re.compile(
    r"\W*((?:\S+\s+){1,6}?)(?:is|are|means|provides?|allows?|lets?|represents?|defines?|handles?|specif(?:y|ies))\b"
)
_POINT: Final = 0.45
_POINT_OF_SEVERAL: Final = 0.3
"""Weighted share of a sub-query's terms that a sentence needs; less if it has two terms or more."""
_FLOOR: Final = 0.05
"""Score of a sentence without any of the terms; its position then decides."""

_SITE: Final = re.compile(r"\s+[—–|·-]\s.*", re.DOTALL)
"""Name of the site after the title."""
_LABEL: Final = re.compile(r"\s*[\w.]+(?:\([^()]*\))?(?:\s*->[^:]*)?:\s")
"""Name before a sentence. Terms in it do not count."""
_IDENTIFIER: Final = re.compile(r"\w*_\w+")
_LEANS: Final = re.compile(
    r"""\W*(?:
        (?:This|That|These|Those|It|Its|They|Their|He|She|Such|Otherwise|However|Thus|Therefore|Hence|So|But|And|Also
          |Then|Here|Instead|Similarly|Likewise|Additionally|Moreover|Furthermore|Finally|Neither|Either|Another|Again
          |Both|Conversely|Consequently|Nevertheless|Yet|Still|Meanwhile|Next|First|Second|Third|Lastly|Besides)\b
      | (?:For|In|At|On|After|Before|When|If|Because\ of|As|With|Like|Since|While|Unlike)\s
          (?:this|that|these|those|it|they|such|so|not|example|instance|addition|contrast|the\ other\ hand|a\ result)\b
      | By\ default,?\ (?:this|it)\b
      | If\ (?:given|specified|provided|omitted|supplied|set|true|false|None)\b
      | (?:The|As|From\ the)\ (?:following|former|latter|same|above|next|other|first|second|result(?:ing)?)\b
    )""",
    re.VERBOSE,
)
_DOUBTS: Final = (
    (re.compile(r"\W*(?:See|Refer|Read|Click|Consult|For (?:more|a|details)|Let['’]s|Consider|Suppose)\b"), 0.3),
    (re.compile(r".*\b(?:above|below|following|preceding|previous|this (?:section|chapter|page|document))\b"), 0.5),
    (re.compile(r".*\b[Tt]his (?:class|function|method|module|object|attribute|property|instance|exception)\b"), 0.6),
    (re.compile(r"\W*(?:Args|Returns|Raises|Yields|Notes?|Parameters|Attributes|Examples?|Usage):"), 0.5),
    (re.compile(r".*\w\s*$"), 0.8),
    (re.compile(r"\W*(?:Changed|New|Added|Deprecated|Removed)\b[^.]* (?:version|since)\b"), 0.5),
    (re.compile(r".*\?\W*$"), 0.4),
    (re.compile(r".*\b(?:[Ww]ritten|[Cc]ontributed|[Mm]aintained) by\b|.*\b(?:Copyright|License)\b"), 0.4),
    (re.compile(r".*(?:https?://|:\w+:`)"), 0.6),
    (re.compile(r".*(?: =+ |\b(?:I|my|we|our|us)\b)"), 0.6),
    (
        re.compile(
            r"\W*(?:Return|Rais|Creat|Set|Get|Run|Submit|Print|Wait|Call|Writ|Read|Check|Send|Clon|Convert|Choos|Add"
            r"|Remov|Comput|Mak|Construct|Initializ|Determin|Test|Open|Clos|Execut|Perform|Build|Regist|Handl|Like"
            r"|Same as|Given|Used|Functionally)(?:e?s|e|ed|d)? "
        ),
        0.5,
    ),
    (re.compile(r"[\w.]+(?:\([^()]*(?:\([^()]*\)[^()]*)*\)(?:\s*->[^:]*)?|\.[\w.]+):\s"), 0.3),
    (re.compile(r"[\w.*]+ -- |(?:.* [\w.]+ -- ){2}|.*\w\(.*\) -> "), 0.2),
    (re.compile(r"[A-Z]{2,}\s?\d+ - "), 0.2),
    (
        re.compile(
            r".*\b(?:can be found|(?:is|are) (?:described|discussed|explained|documented)|more information"
            r"|section [A-Z])\b"
        ),
        0.3,
    ),
    (
        re.compile(r"The (?:parameters?|arguments?|method|function|return(?:ed)? value|default(?: value)?|result)s? "),
        0.6,
    ),
    (re.compile(r"\(.*\)\W*$"), 0.3),
    (re.compile(r"(?:[^:]*\w: ){3}"), 0.2),
    (re.compile(r".*(?<![\w`'\"*])(?:[a-z]+_[a-z_]+|_[A-Za-z]\w*)(?![\w`'\"*(])"), 0.35),
    (re.compile(r"(?:If|When)\b[^.]*, (?:return|raise|use|call|do)\b"), 0.6),
    (re.compile(r".*(?:(?i:\b(?:ignor|disregard)\w* (?:all |any |the )*(?:previous|prior|above)\b)|<\|)"), 0.01),
)
"""Patterns of sentences that depend on their document, each with the factor for their score."""

_VERB: Final = re.compile(
    r"""\b(?:
        is|are|was|were|be|been|can|cannot|could|may|might|must|will|would|shall|should|has|have|had|do|does|did|not
      | \w+n['’]t | Use | To | If | When | Note
      | (?:accept|add|affect|allow|appear|apply|avoid|becom|behav|block|call|cancel|caus|chang|check|clos
          |contain|convert|creat|depend|describ|do|enabl|ensur|execut|expect|exit|fail|finish|follow|giv|handl
          |happen|hav|help|hold|ignor|implement|includ|indicat|keep|lead|leav|let|load|mak|manag|match|mean
          |need|offer|open|pass|perform|prevent|produc|propagat|protect|provid|rais|read|receiv|refer|releas
          |remov|replac|represent|requir|return|run|send|set|show|start|stop|stor|support|suspend|tak|tell|tri
          |us|wait|want|work|writ)(?:e?s)
    )\b""",
    re.VERBOSE,
)
_NO_VERB: Final = 0.6


@dataclass(frozen=True, eq=False)
class Candidate:
    """A sentence that may be selected, at `start` in the frozen text of source number `source`.

    `before` is the sentence directly before it in its paragraph; one that `leans` is not understood without it. `score`
    is its worth to its sub-query, `answers` to the whole question. `to_the_point`: the sentence or its source's title
    is about the sub-query. `stands`: it can be understood outside its document.
    """

    text: str
    source: int
    start: int
    score: float
    answers: float
    to_the_point: bool
    stands: bool
    leans: bool
    before: "Candidate | None"

    @property
    def place(self) -> tuple[int, int]:
        """Source and position, which identify and order sentences."""
        return self.source, self.start


def rank_sentences(task: SynthesizeTask, read: Reader) -> list[tuple[Finding, list[Candidate]]]:
    """Return each finding with its scored candidates; findings without sentences are left out.
    `read` splits a passage.
    """
    numbers = {source.sha256: n for n, source in enumerate(number_sources(task.findings), start=1)}
    texts = {passage.text for finding in task.findings for source in finding.sources for passage in source.passages}
    told = {text: read(text) for text in texts}
    relevance = Relevance({sentence.text for each in told.values() for sentence in each})
    scored = ((finding, list(_candidates(finding, task.q, relevance, numbers, told))) for finding in task.findings)
    return [(finding, candidates) for finding, candidates in scored if candidates]


def page_subject(title: str) -> str:
    """Return a page's title without the name of its site."""
    return _SITE.sub("", title) or title


class _Judge:
    """Scores the sentences of one source for one finding."""

    def __init__(self, relevance: Relevance, question: str, query: str, title: str) -> None:
        asked, searched = frozenset(terms(question)), frozenset(terms(query))
        self._relevance = relevance
        self._wanted = dict.fromkeys(asked, _QUESTION_WEIGHT) | dict.fromkeys(searched, 1.0)
        self._weights = {term: _BOTH_WEIGHT if term in asked else 1.0 for term in searched}
        self._words = asked | searched
        self._said = frozenset(_IDENTIFIER.findall(f"{question} {query}"))
        self._subject = asked & searched or asked
        self._title = frozenset(terms(page_subject(title)))
        self._base = _FLOOR + _TITLE_WEIGHT * relevance.of(page_subject(title), self._wanted)
        self._at_home = bool(self._title) and self._title <= self._words
        self._trust = 1.0 if self._title & self._words else _STRAY

    def score(self, text: str, share: float, early: float) -> float:
        """Return the worth of a sentence to the sub-query, from its words, its coverage `share`, its position and its
        independence.
        """
        said = self._base + self._relevance.of(_LABEL.sub("", text), self._wanted)
        return said * (0.4 + 0.6 * share) * early * self.independence(text) * self._trust

    def answers(self, text: str) -> float:
        """Return the worth of a sentence to the question: highest if it defines the subject."""
        opening = _IS.match(text)
        defines = opening is not None and not self._subject.isdisjoint(terms(opening.group(1)))
        said = self._base + self._relevance.of(_LABEL.sub("", text), dict.fromkeys(self._subject, 1.0))
        named = len(self._subject & self._title.union(terms(text))) / (len(self._subject) or 1)
        worth = said * (0.2 + named) * self.independence(text) * self._trust
        return worth * (_DEFINES if defines else 1.0) * (_LEANING if leans_on_previous(text) else 1.0)

    def independence(self, text: str) -> float:
        """Return `standing` of the sentence, without the names that question or title introduce."""
        label = _LABEL.match(text)
        name = label.group().partition("(")[0].rstrip(": ").rpartition(".")[2] if label else ""
        if label and name and (self._at_home or self._words.issuperset(terms(name))):
            text = f"It is: {text[label.end() :]}"
        return independence(_IDENTIFIER.sub(self._introduced, text))

    def _introduced(self, name: re.Match[str]) -> str:
        """Return `it` for a name that question or title introduce, else the name."""
        return "it" if self._at_home or name.group() in self._said else name.group()

    def covers(self, *texts: str) -> tuple[int, float]:
        """Return number and weight share of the sub-query's terms that the texts or the title have."""
        had = self._title.union(*map(terms, texts)) & self._weights.keys()
        return len(had), sum(self._weights[term] for term in had) / (sum(self._weights.values()) or 1.0)


def independence(text: str) -> float:
    """Return the share of a sentence's worth that is left outside its document, 0 to 1."""
    flat = " ".join(text.split())
    worth = 1.0 if _VERB.search(flat) else _NO_VERB
    for doubt, left in _DOUBTS:
        worth *= left if doubt.match(flat) else 1.0
    return worth


def leans_on_previous(text: str) -> bool:
    """Return True if a sentence begins with a reference to the one before it."""
    return _LEANS.match(text) is not None


def _candidates(
    finding: Finding,
    question: str,
    relevance: Relevance,
    numbers: Mapping[str, int],
    told: Mapping[str, Sequence[Sentence]],
) -> Iterator[Candidate]:
    """Yield the candidates of a finding; sources and passages that come later score lower."""
    for rank, source in enumerate(finding.sources):
        judge = _Judge(relevance, question, finding.query, source.title)
        for place, passage in enumerate(source.passages):
            early = 1 / ((1 + 0.05 * rank) * (1 + 0.1 * place))
            yield from _of_passage(passage, numbers[source.sha256], told[passage.text], judge, early)


def _of_passage(
    passage: Passage, source: int, said: Sequence[Sentence], judge: _Judge, early: float
) -> Iterator[Candidate]:
    """Yield the candidates of one passage, in order."""
    before: Candidate | None = None
    for index, sentence in enumerate(said):
        context = before.text if before and sentence.follows else ""
        count, share = judge.covers(context, sentence.text)
        before = Candidate(
            text=sentence.text,
            source=source,
            start=passage.start + sentence.start,
            score=judge.score(sentence.text, share, early * (1 + 0.3 / (1 + index))),
            answers=judge.answers(sentence.text) * early,
            to_the_point=share >= (_POINT if count < 2 else _POINT_OF_SEVERAL),
            stands=judge.independence(sentence.text) >= _STANDS,
            leans=leans_on_previous(sentence.text),
            before=before if sentence.follows else None,
        )
        yield before
