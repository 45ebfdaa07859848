"""Names and negations in a sentence. Pure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from services.synthesizer.numbers import MONTHS
from shared.text.terms import terms
from shared.text.words import is_technical, word_set

_TOKEN: Final = re.compile(r"_*[^\W_](?:[\w.+#/-]*[\w+#])?")
_AT_START: Final = re.compile(r"(?:^|[.!?:;…。！？\n]|\s[-–—])[\s\"'“‘«»„(\[`*]*$")
_NOUNS_IN_CAPITALS: Final = 0.3
"""Share of capitalised words from which capitals mark nouns or headings, not names."""
_NOT_NAMES: Final = word_set("i i'm i've i'd ok").union(MONTHS)

_DENIES: Final = re.compile(
    r"\b(?:not(?! (?:only|just|merely|necessarily)\b)|no|never|cannot|(?-i:none|None(?= of\b))|nor|neither"
    r"|nobody|nothing|nowhere|without"
    r"|\w+n['’]t|nicht|kein\w*|niemals|ohne|jamais|aucune?|nunca|ning[uú]n\w*)\b",
    re.IGNORECASE,
)
_AS_GOOD_AS_DENIES: Final = re.compile(
    r"\b(?:un\w{3,}|in(?:valid|secure|active|compatible|complete|correct|accurate|effective|sufficient)|im(?:poss|mut)\w+"
    r"|il\w+al\w*|non\w*|dis\w{3,}|a(?:typical|synchronous)\w*|only|unless|except|rather|instead|hardly|rarely|few|less"
    r"|false\w*|stop\w*|lack\w*|miss\w*|fail\w*|prevent\w*|refus\w*|reject\w*|den(?:y|ies|ied)|forb\w+|prohibit\w*"
    r"|ignor\w*|skip\w*|avoid\w*|remov\w*|exclu\w*|absent|limit\w*|against|wrong\w*|loses?|lost)\b",
    re.IGNORECASE,
)
_COMMAND: Final = re.compile(r"(?:^|[.!?:;]\s+|\n\s*)\W*(?:do not|don['’]t|never)\b", re.IGNORECASE)
_REACH: Final = 4
"""Words after a negation among which the denied one is sought."""
_BETWEEN: Final = word_set("yet ever even always longer really quite")


@lru_cache(maxsize=4_096)
def names(text: str) -> tuple[str, ...]:
    """Return the names in `text`, each once: identifiers, acronyms, and capitalised words within a sentence.

    Where capitals are frequent, as in German or in headings, capitalised words do not count.
    """
    tokens = [(match.group(), match.start()) for match in _TOKEN.finditer(text)]
    words = [(token, start) for token, start in tokens if token[0].isalpha() or is_technical(token)]
    inside = [token for token, start in words if token[0].isupper() and not _AT_START.search(text[:start][-40:])]
    capitals = inside if len(inside) <= max(2, _NOUNS_IN_CAPITALS * len(words)) else []
    technical = [token for token, _ in words if is_technical(token)]
    found = dict.fromkeys(_strip_marks(token) for token in (*technical, *capitals))
    return tuple(name for name in found if len(name) > 1 and name.casefold() not in _NOT_NAMES)


def contains_name(text: str, name: str) -> bool:
    """Return True if `text` has this name: in another case or number, its last dotted part, or its initials."""
    folded, last = _fold(text), name.rpartition(".")[2]
    for part in (name, last) if len(last) > 2 else (name,):
        if re.search(rf"(?<!\w){re.escape(_singular(_fold(part)))}(?:e?s)?(?!\w)", folded):
            return True
    return name.isupper() and name.casefold() in "".join(word[0] for word in re.findall(r"[^\W_]+", folded))


@dataclass(frozen=True)
class Polarity:
    """Terms that a text denies and asserts, the number of its negations, and its words that imply one."""

    denied: frozenset[str]
    asserted: frozenset[str]
    denials: int
    nearly: frozenset[str]


@lru_cache(maxsize=4_096)
def polarity(text: str) -> Polarity:
    """Return the polarity of `text`. Terms of prohibitions to the reader count neither as denied nor as asserted."""
    commands = {match.end() for match in _COMMAND.finditer(text)}
    denied, away = set[str](), set[str]()
    for match in _DENIES.finditer(text):
        first = next(_next_terms(text, match.end()), None)
        if first:
            (away if match.end() in commands else denied).add(first)
    return Polarity(
        denied=frozenset(denied),
        asserted=frozenset(terms(text)) - denied - away,
        denials=len(_DENIES.findall(text)),
        nearly=frozenset(terms(" ".join(_AS_GOOD_AS_DENIES.findall(text)))),
    )


def _next_terms(text: str, at: int) -> Iterator[str]:
    """Yield the terms of the first `_REACH` words after position `at`."""
    words = re.findall(r"\w+", text[at : at + 60])[:_REACH]
    return (term for word in words if word not in _BETWEEN for term in terms(word))


def _strip_marks(token: str) -> str:
    """Return the token without possessive `'s` and without marks at its ends."""
    return re.sub(r"['’]s$", "", token).strip("-/.")


def _fold(text: str) -> str:
    """Return `text` on one line, case folded, with plain hyphens."""
    return re.sub(r"[‐‑‒–—−]", "-", " ".join(text.split())).casefold()


def _singular(word: str) -> str:
    """Return the word without a plural `s`."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
