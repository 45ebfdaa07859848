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
_SHINGLE_WORDS: Final = 5
_MAX_WORDS: Final = 20_000
"""Words of a text that are compared; the rest is ignored."""
DUPLICATE: Final = 0.85
"""Share of all shingles of two texts that both have, from which they are duplicates."""
COMMON_ORIGIN: Final = 0.5
"""Share of the shorter text's shingles in the longer one, from which both have one origin."""
_MIN_SHINGLES: Final = 20
"""Shingles below which texts are compared for equality only."""

Shingles = frozenset[int]


def shingles(text: str) -> Shingles:
    """Return the hashes of all runs of five words among the first 20,000 of `text`; never empty, equal in every
    process.
    """
    words = [match[0] for match in islice(_WORD.finditer(text.casefold()), _MAX_WORDS)]
    runs = (" ".join(words[at : at + _SHINGLE_WORDS]) for at in range(max(1, len(words) - _SHINGLE_WORDS + 1)))
    return frozenset(int.from_bytes(blake2b(run.encode(), digest_size=8).digest()) for run in runs)


def are_duplicates(one: Shingles, other: Shingles) -> bool:
    """Return True for duplicates: at least `DUPLICATE` of all shingles are common. Short texts must be equal."""
    if min(len(one), len(other)) < _MIN_SHINGLES:
        return one == other
    return len(one & other) >= DUPLICATE * len(one | other)


def shares_origin(one: Shingles, other: Shingles) -> bool:
    """Return True if the longer text has at least `COMMON_ORIGIN` of the shorter one's shingles. Short texts must be
    equal.
    """
    smaller = min(len(one), len(other))
    if smaller < _MIN_SHINGLES:
        return one == other
    return len(one & other) >= COMMON_ORIGIN * smaller


def origin_keys(texts: Sequence[Shingles]) -> list[str]:
    """Return the key of each text's origin, 16 hex digits, in order. Texts that share one, also through others, have
    the same key.
    """
    groups: list[set[int]] = []
    for at, one in enumerate(texts):
        near = [group for group in groups if any(shares_origin(one, texts[member]) for member in group)]
        groups = [group for group in groups if group not in near] + [{at}.union(*near)]
    keys = {member: min(min(texts[each]) for each in group) for group in groups for member in group}
    return [f"{keys[at]:016x}" for at in range(len(texts))]
