"""Duplicates and common origins of texts. Pure.

A text is compared by its shingles: the hashes of all runs of five words. Two texts that share nearly all of them are
duplicates, and the second is folded into the first. Two that share a large part, such as two papers that print the same
press release, have one origin: they are two sources, but one witness.

Texts of one site have no common origin by that alone. The key of an origin is the least hash of all shingles of its
texts, so it is the same wherever the same texts come together, and nearly always if only some of them do; if not, one
origin is counted as two.
"""

import re
from collections.abc import Sequence
from hashlib import blake2b
from itertools import islice
from typing import Final

_WORD: Final = re.compile(r"\w+")
_RUN: Final = 5
_MAX_WORDS: Final = 20_000
"""Of a longer text only the beginning is compared."""
SAME: Final = 0.85
"""Of all shingles of two texts, those that both have: from here on they are one text."""
SHARED: Final = 0.5
"""Of the shingles of the shorter text, those that the longer has: from here on they are of one origin."""
_TELLING: Final = 20
"""Shingles that a text must have to be compared by its parts; shorter ones are the same or they are not."""

Shingles = frozenset[int]


def shingles(text: str) -> Shingles:
    """Return the hashes of all runs of five words among the first 20,000 of `text`; never empty, equal in every
    process.
    """
    words = [match[0] for match in islice(_WORD.finditer(text.casefold()), _MAX_WORDS)]
    runs = (" ".join(words[at : at + _RUN]) for at in range(max(1, len(words) - _RUN + 1)))
    return frozenset(int.from_bytes(blake2b(run.encode(), digest_size=8).digest()) for run in runs)


def are_same(one: Shingles, other: Shingles) -> bool:
    """Return True for duplicates: at least `SAME` of all shingles are common. Short texts must be equal."""
    if min(len(one), len(other)) < _TELLING:
        return one == other
    return len(one & other) >= SAME * len(one | other)


def shares_origin(one: Shingles, other: Shingles) -> bool:
    """Return True if at least `SHARED` of the shorter text's shingles are in the other. Short texts must be equal."""
    smaller = min(len(one), len(other))
    if smaller < _TELLING:
        return one == other
    return len(one & other) >= SHARED * smaller


def origins(texts: Sequence[Shingles]) -> list[str]:
    """Return the key of each text's origin, 16 hex digits, in order. Texts that share one, also through others, have
    the same key.
    """
    groups: list[set[int]] = []
    for at, one in enumerate(texts):
        near = [group for group in groups if any(shares_origin(one, texts[member]) for member in group)]
        groups = [group for group in groups if group not in near] + [{at}.union(*near)]
    keys = {member: min(min(texts[each]) for each in group) for group in groups for member in group}
    return [f"{keys[at]:016x}" for at in range(len(texts))]
