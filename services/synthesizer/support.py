"""Whether its quotes bear a claim out: by rule always, by a model where one was asked. Pure.

That a quote exists says nothing of whether it supports. The rule looks at what is right or wrong by itself (numbers,
names, what is denied) and at whether claim and quotes speak of the same things at all. It does not understand; what
it calls supported may still be a wrong conclusion from the right words. That is for a model to see, and for a reader.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Final

from services.synthesizer.entities import knows, names, polarity
from services.synthesizer.numbers import bears, numbers
from shared.contracts.evidence import Claim, Support
from shared.contracts.visible import visible_line
from shared.text.sentences import split_sentences
from shared.text.terms import terms

_SAME_TALK: Final = 0.3
"""The share of a claim's words that its quotes have; with less, they may speak of something else."""
_SAME_WORDS: Final = 0.9
"""Where claim and quotes share so many of their words, one repeats the other, and has to deny as often."""
_MOST_NAMED: Final = 3
_ENGLISH: Final = re.compile(
    r"\b(?:the|of|and|is|are|was|to|in|a|an|that|for|with|by|it|on|as|be|not|this|at|from|or)\b", re.IGNORECASE
)
_UNSPACED: Final = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True)
class Verdict:
    """How well a claim is supported, and what of it is in doubt; empty where nothing is."""

    support: Support
    doubt: str = ""


SUPPORTED: Final = Verdict("supported")


def judged(claim: Claim, titles: Sequence[str] = ()) -> Claim:
    """The claim with the rule's verdict on it. `titles` are those of the sources that it cites."""
    if verbatim(claim):
        return _with(claim, SUPPORTED)
    return _with(claim, by_rule(claim.text, [citation.quote for citation in claim.citations], titles))


def weighed(claim: Claim, model: Verdict | None) -> Claim:
    """The claim with a model's verdict beside the rule's: it may lower any, and lift what the rule found partial.

    What the rule found unsupported stays so: whoever reads the quotes may have been talked into something by them.
    """
    if model is None or claim.support == "unsupported":
        return claim
    if model.support == "supported":
        return _with(claim, SUPPORTED)
    return _with(claim, Verdict(model.support, visible_line(model.doubt) or claim.doubt))


def verbatim(claim: Claim) -> bool:
    """Whether a claim is one of its quotes, word for word."""
    return any(visible_line(claim.text) == visible_line(citation.quote) for citation in claim.citations)


def by_rule(text: str, quotes: Sequence[str], titles: Sequence[str] = ()) -> Verdict:
    """What the rule says: `unsupported` for a number, a denial or a subject of its own, `partial` for a name.

    A name may stand in a title instead, since a page rarely repeats in each sentence what it is about.
    """
    evidence = "\n".join(quotes)
    if wrong := [*_numbers(text, evidence), *_denials(text, evidence), *_subject(text, evidence, titles)]:
        return Verdict("unsupported", "; ".join(wrong))
    known = "\n".join((evidence, *titles))
    if doubts := [*_spelled(text, evidence), *_names(text, known), *_little(text, evidence, known)]:
        return Verdict("partial", "; ".join(doubts))
    return SUPPORTED


def _with(claim: Claim, verdict: Verdict) -> Claim:
    return Claim(claim.text, claim.citations, verdict.support, verdict.doubt)


def _numbers(text: str, evidence: str) -> Iterator[str]:
    """Numbers that are not in the evidence. One in words counts only where the evidence has another in its place."""
    missing = [number for number in numbers(text) if not bears(evidence, number)]
    others = any(not bears(text, number) for number in numbers(evidence))
    wrong = [number.said for number in missing if not number.spelled or others]
    return _absent(wrong)


def _spelled(text: str, evidence: str) -> Iterator[str]:
    return _absent([number.said for number in numbers(text) if number.spelled and not bears(evidence, number)])


def _names(text: str, known: str) -> Iterator[str]:
    return _absent([name for name in names(text) if not knows(known, name)])


def _absent(said: Sequence[str]) -> Iterator[str]:
    if said:
        listed = ", ".join(f"“{each}”" for each in said[:_MOST_NAMED])
        yield f"{listed} {'is' if len(said) == 1 else 'are'} not in the quotes"


def _denials(text: str, evidence: str) -> Iterator[str]:
    """Where the claim denies what the evidence asserts, or asserts what the evidence denies."""
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


def _subject(text: str, evidence: str, titles: Sequence[str]) -> Iterator[str]:
    """That claim and evidence have no word in common, which only says something within one language."""
    if _shared(text, "\n".join((evidence, *titles))) == 0 and _english(text) and _english(evidence):
        yield "the quotes speak of something else"


def _little(text: str, evidence: str, known: str) -> Iterator[str]:
    """That a sentence of the claim, which should have but one, says nothing of what the evidence says, or little."""
    said = [text[start:end] for start, end in split_sentences(text)]
    if not all(_shared(sentence, evidence) for sentence in said):
        yield "none of its words is in the quotes"
    elif min(_shared(sentence, known) for sentence in said) < _SAME_TALK and _english(text) and _english(known):
        yield "few of its words are in the quotes"


def _shared(text: str, known: str) -> float:
    """The share of the terms of `text` that `known` has too; 1 where there are none to look for."""
    wanted = frozenset(_talk(text))
    return len(wanted & frozenset(_talk(known))) / len(wanted) if wanted else 1.0


def _talk(text: str) -> Iterator[str]:
    """The terms of a text, numbers aside; of scripts without spaces, every two neighbouring characters."""
    unspaced = (match.group() for match in _UNSPACED.finditer(text))
    pairs = chain.from_iterable((f"{a}{b}" for a, b in pairwise(run)) for run in unspaced)
    words = (term for term in terms(_UNSPACED.sub(" ", text)) if not term.isdigit())
    return chain(words, pairs)


def _english(text: str) -> bool:
    return len(_ENGLISH.findall(text)) >= 2
