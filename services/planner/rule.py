"""The plan without a model: keyword queries cut out of the question. Pure.

Each clause becomes a query of its words that are no stop words. A clause without a technical word is prefixed with the
subject of the question, and the names in the question are searched for by themselves too. Only a later round adds
general aspects such as “… example”, since a reviewer then asked for more. The queries suit a full-text search that
ranks documents with all words before those with some.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from services.planner.words import (
    JOIN,
    asked_keywords,
    is_code_name,
    is_general,
    join_words,
    keywords,
    mark_names,
    noun_phrases,
)
from shared.contracts.tasks import PlanTask
from shared.text.sentences import split_sentences

MOST: Final = 5
"""Largest number of queries in a round."""
ENOUGH: Final = 4
"""Number of queries up to which names of the question, and in later rounds aspects of its subject, are added."""
FEW: Final = 2
"""Number of queries up to which the subject itself is added."""
MAX_WORDS: Final = 6
MAX_LENGTH: Final = 120
_MAX_SUBJECT: Final = 80

_ASPECTS: Final = (
    "{}",
    "{} example",
    "{} exceptions",
    "{} limitations",
    "{} usage",
    "{} changed in version",
    "{} thread safety",
    "{} alternatives",
    "{} performance",
    "{} parameters",
)
_CLAUSE: Final = re.compile(
    r"[,;:!?()\[\]{}\"“”«»。？！，、：；]+|\.(?=\s|$)|\s[-–—]+\s"
    r"|\b(?:and|or|but|versus|vs|whereas|while|than|when|if|because|as well as|compared (?:to|with)|instead of)\b"
    rf"(?!{JOIN})",
    re.IGNORECASE,
)
_CODE_MARKS: Final = re.compile(r"\(\s*\)|`")
_MEASURE: Final = re.compile(r"\bhow\s+(?:far|long|many|much|often|soon|well)\b", re.IGNORECASE)
_POSSESSIVE: Final = re.compile(r"['’]s\b")
_COMPARISON: Final = re.compile(r"\b(?:differ\w*|compar\w+|versus|vs|better|choose|between)\b", re.IGNORECASE)
_UNWANTED: Final = re.compile(
    r"\W*(?:no(?! mention)|not(?! enough)|less|fewer|too (?:much|many)|without|ignore|skip|drop|exclude|leave out"
    r"|don['’]?t(?! forget))\b",
    re.IGNORECASE,
)

_VERDICT: Final = re.compile(
    r"\b(?:(?:still|far|much|way|rather|a bit)\s+)*(?:too\s+(?:thin|shallow|vague|weak|short|brief|superficial|general"
    r"|sparse|narrow|few|little)|not\s+(?:deep|detailed|specific|thorough)\s+enough|insufficient|incomplete)\b",
    re.IGNORECASE,
)
"""Judgement of a reviewer on the evidence, which is no subject to search for."""


def plan_queries(task: PlanTask) -> tuple[str, ...]:
    """Return up to five distinct queries, none of them asked before; empty if nothing is left to search for.

    The newest feedback comes first, since the round is made for it.
    """
    subject = _subject(task.q)
    said = (_VERDICT.sub("", words) for words in reversed(task.feedback))
    wishes = (query for words in said for query in _clause_queries(words, subject))
    known = {query_key(query) for query in task.asked}
    found = _distinct_new(chain(wishes, _clause_queries(task.q, subject)), known)[:MOST]
    named, sides = _name_queries(task.q, subject), list(_aspect_queries(subject))
    for least, more in ((ENOUGH, named), (FEW, sides[:1]), (ENOUGH if task.asked else 1, sides)):
        found += _distinct_new(more, known.union(map(query_key, found)))[: max(0, least - len(found))]
    return tuple(found)


def query_key(query: str) -> frozenset[str]:
    """Return the words of a query, case folded: queries with equal keys are the same search."""
    return frozenset(query.casefold().split())


def _clause_queries(text: str, subject: str) -> Iterator[str]:
    """Yield a query for each clause of `text`, those of questions first."""
    for sentence in sorted(_sentences(text), key=lambda sentence: "?" not in sentence):
        compares = _COMPARISON.search(sentence) is not None
        for clause in _clauses(sentence):
            if words := asked_keywords(clause):
                lead = subject.split() if _lacks_subject(words, subject, compares=compares) else []
                yield _join_query([*lead, *words])


def _lacks_subject(words: Sequence[str], subject: str, *, compares: bool) -> bool:
    """Return True if the words alone would match anything. Sides of a comparison stand for themselves."""
    if any(map(is_code_name, words)) or _singular(subject) & _singular(" ".join(words)):
        return False
    return not compares if len(words) <= 2 else is_code_name(subject)


def _singular(query: str) -> set[str]:
    """Return the words of a query without a final `s`."""
    return {word.removesuffix("s") for word in query_key(query)}


def _name_queries(text: str, subject: str) -> Iterator[str]:
    """Yield the names in a text, those of several words first. A single word counts if it is technical or compared.

    Where technical things are compared, single words are criteria, and are left out.
    """
    compares = _COMPARISON.search(text) is not None and not is_code_name(subject)
    found = [term for sentence in _sentences(text) for clause in _clauses(sentence) for term in noun_phrases(clause)]
    for term in sorted(found, key=lambda term: len(term) == 1 and not is_code_name(term[0])):
        if len(term) > 1 or compares or is_code_name(term[0]):
            yield _join_query(term)


def _aspect_queries(subject: str) -> Iterator[str]:
    """Yield queries for general aspects of the subject; none for an empty subject."""
    return (side.format(subject[:_MAX_SUBJECT].rstrip()) for side in _ASPECTS if subject)


def _subject(question: str) -> str:
    """Return the subject of a question: its first technical word, else its longest name, else its first words, else
    empty.
    """
    clauses = [clause for sentence in _sentences(question) for clause in _clauses(sentence)]
    for technical in (word for clause in clauses for word in keywords(clause) if is_code_name(word)):
        return _join_query([technical])
    named = [[word for word in term if not is_general(word)] for clause in clauses for term in noun_phrases(clause)]
    said = [asked_keywords(clause) for clause in clauses]
    return _join_query(max(named, key=len) if named else max(said, key=bool) if said else [])


def _sentences(text: str) -> list[str]:
    """Return the sentences of a text, one per line or split within lines, without possessives and code marks."""
    plain = _MEASURE.sub("how", _POSSESSIVE.sub("", _CODE_MARKS.sub(" ", mark_names(text))))
    lines = plain.splitlines()
    return [line[start:end] for line in lines for start, end in split_sentences(line) if line[start:end].strip()]


def _clauses(sentence: str) -> list[str]:
    """Return the clauses of a sentence, without those that ask to leave something out."""
    return [clause for clause in _CLAUSE.split(sentence) if clause and not _UNWANTED.match(clause)]


def _distinct_new(queries: Iterable[str], known: set[frozenset[str]]) -> list[str]:
    """Return the queries that are neither in `known` nor repeated, in order. Empty ones are dropped."""
    distinct: dict[frozenset[str], str] = {}
    for query in filter(None, queries):
        distinct.setdefault(query_key(query), query)
    return [query for words, query in distinct.items() if words not in known]


def _join_query(words: Sequence[str]) -> str:
    """Join the first words, at most `MAX_WORDS`, to a query of at most `MAX_LENGTH` characters; a single long word is
    cut.
    """
    kept = list(words[:MAX_WORDS])
    while len(kept) > 1 and len(join_words(kept)) > MAX_LENGTH:
        kept.pop()
    return join_words(kept)[:MAX_LENGTH]
