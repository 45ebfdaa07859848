"""Support of a claim by its quotes: by rule always, by a model if one is configured. Pure.

A quote that exists need not support its claim. The rule checks numbers, names and negations, and whether claim and
quotes share words at all. It does not understand: a claim that it calls supported may still be a wrong conclusion.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final

from services.synthesizer.entities import contains_name, names, polarity
from services.synthesizer.numbers import contains_number, numbers
from shared.contracts.evidence import Claim, Support
from shared.contracts.visible import visible_line
from shared.text.sentences import split_sentences
from shared.text.terms import terms

_SAME_TALK: Final = 0.3
"""Share of a claim's terms in its quotes below which the support is in doubt."""
_SAME_WORDS: Final = 0.9
"""Share of common terms from which a claim repeats its quote and must have as many negations."""
_MOST_NAMED: Final = 3
_ENGLISH: Final = re.compile(
    r"\b(?:the|of|and|is|are|was|to|in|a|an|that|for|with|by|it|on|as|be|not|this|at|from|or)\b", re.IGNORECASE
)
_UNSPACED: Final = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True)
class Verdict:
    """Support of a claim, and the part in doubt; empty if there is none."""

    support: Support
    doubt: str = ""


SUPPORTED: Final = Verdict("supported")


def judge_by_rule(claim: Claim, titles: Sequence[str] = ()) -> Claim:
    """Return the claim with the rule's verdict. `titles` are those of its sources."""
    if is_verbatim(claim):
        return _with(claim, SUPPORTED)
    return _with(claim, rule_verdict(claim.text, [citation.quote for citation in claim.citations], titles))


def apply_model_verdict(claim: Claim, model: Verdict | None) -> Claim:
    """Return the claim with a model's verdict applied: it may lower any verdict, and raise `partial`.

    `unsupported` by rule stays: text in the quotes may have misled the model.
    """
    if model is None or claim.support == "unsupported":
        return claim
    if model.support == "supported":
        return _with(claim, SUPPORTED)
    return _with(claim, Verdict(model.support, visible_line(model.doubt) or claim.doubt))


def is_verbatim(claim: Claim) -> bool:
    """Return True if the claim is one of its quotes."""
    return any(visible_line(claim.text) == visible_line(citation.quote) for citation in claim.citations)


def rule_verdict(text: str, quotes: Sequence[str], titles: Sequence[str] = ()) -> Verdict:
    """Return the rule's verdict: `unsupported` for a number, negation or subject that the quotes lack, `partial` for a
    name.

    A name may stand in a title instead, since a page rarely repeats its subject in each sentence.
    """
    evidence = "\n".join(quotes)
    if wrong := [*_numbers(text, evidence), *_negations(text, evidence), *_unrelated(text, evidence, titles)]:
        return Verdict("unsupported", "; ".join(wrong))
    known = "\n".join((evidence, *titles))
    if doubts := [*_number_words(text, evidence), *_names(text, known), *_few_shared_terms(text, evidence, known)]:
        return Verdict("partial", "; ".join(doubts))
    return SUPPORTED


def _with(claim: Claim, verdict: Verdict) -> Claim:
    """Return the claim with this verdict."""
    return Claim(claim.text, claim.citations, verdict.support, verdict.doubt)


def _numbers(text: str, evidence: str) -> Iterator[str]:
    """Yield a doubt for numbers that the evidence lacks; for one in words only if the evidence has another number
    instead.
    """
    missing = [number for number in numbers(text) if not contains_number(evidence, number)]
    others = any(not contains_number(text, number) for number in numbers(evidence))
    wrong = [number.said for number in missing if not number.spelled or others]
    return _missing_doubt(wrong)


def _number_words(text: str, evidence: str) -> Iterator[str]:
    """Yield a doubt for numbers in words that the evidence lacks."""
    return _missing_doubt(
        [number.said for number in numbers(text) if number.spelled and not contains_number(evidence, number)]
    )


def _names(text: str, known: str) -> Iterator[str]:
    """Yield a doubt for names that the evidence and the titles lack."""
    return _missing_doubt([name for name in names(text) if not contains_name(known, name)])


def _missing_doubt(said: Sequence[str]) -> Iterator[str]:
    """Yield a doubt that lists the first missing items; none for an empty list."""
    if said:
        listed = ", ".join(f"“{each}”" for each in said[:_MOST_NAMED])
        yield f"{listed} {'is' if len(said) == 1 else 'are'} not in the quotes"


def _negations(text: str, evidence: str) -> Iterator[str]:
    """Yield a doubt if the claim denies a statement of the evidence, or asserts one that the evidence denies."""
    claim, quoted = polarity(text), polarity(evidence)
    turned = claim.denied & quoted.asserted - quoted.denied
    alike = min(_shared(text, evidence), _shared(evidence, text)) >= _SAME_WORDS
    bare = claim.denied and not quoted.denials and not quoted.nearly - claim.nearly
    if turned or bare or (alike and claim.denials > quoted.denials):
        yield "the quotes do not deny it"
    opposed = claim.asserted & quoted.denied - quoted.asserted
    if (opposed and not claim.denials and not claim.nearly - quoted.nearly) or (
        alike and claim.denials < quoted.denials
    ):
        yield "the quotes deny it"


def _unrelated(text: str, evidence: str, titles: Sequence[str]) -> Iterator[str]:
    """Yield a doubt if claim and evidence share no term. Both must be English: other languages may share none."""
    if _shared(text, "\n".join((evidence, *titles))) == 0 and _is_english(text) and _is_english(evidence):
        yield "the quotes speak of something else"


def _few_shared_terms(text: str, evidence: str, known: str) -> Iterator[str]:
    """Yield a doubt if a sentence of the claim shares no term, or few, with the evidence."""
    said = [text[start:end] for start, end in split_sentences(text)]
    if not all(_shared(sentence, evidence) for sentence in said):
        yield "none of its words is in the quotes"
    elif min(_shared(sentence, known) for sentence in said) < _SAME_TALK and _is_english(text) and _is_english(known):
        yield "few of its words are in the quotes"


def _shared(text: str, known: str) -> float:
    """Return the share of the terms of `text` that `known` has; 1 if there are none."""
    wanted = frozenset(_content_terms(text))
    return len(wanted & frozenset(_content_terms(known))) / len(wanted) if wanted else 1.0


def _content_terms(text: str) -> Iterator[str]:
    """Yield the terms of a text without numbers; for scripts without blanks, every two adjacent characters."""
    unspaced = (match.group() for match in _UNSPACED.finditer(text))
    pairs = chain.from_iterable((f"{a}{b}" for a, b in pairwise(run)) for run in unspaced)
    words = (term for term in terms(_UNSPACED.sub(" ", text)) if not term.isdigit())
    return chain(words, pairs)


def _is_english(text: str) -> bool:
    """Return True if the text has at least two frequent English words."""
    return len(_ENGLISH.findall(text)) >= 2
