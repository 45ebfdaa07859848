"""Which texts are the same words. Pure.

A text is compared by its shingles, which are all runs of five words in it. Two that share nearly all of them are
one text, and the second is folded into the first. Two that share a large part, as papers do that print the same
press release with a headline and a last line of their own, are of one origin: they are two sources, and one witness.

That a site is the same makes no origin: its articles may have been written by different people about different
things, while the same words on ten sites were written by one. An origin's key is the least hash of all shingles of
the texts that share it. So it is the same wherever the same texts come together, and nearly always where only some
of them do; where not, the same words are counted as more origins than they are.
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
    """The hashes of all runs of words in `text`; never empty, the same in every process."""
    words = [match[0] for match in islice(_WORD.finditer(text.casefold()), _MAX_WORDS)]
    runs = (" ".join(words[at : at + _RUN]) for at in range(max(1, len(words) - _RUN + 1)))
    return frozenset(int.from_bytes(blake2b(run.encode(), digest_size=8).digest()) for run in runs)


def are_same(one: Shingles, other: Shingles) -> bool:
    """Whether two texts are one, but for a few words."""
    if min(len(one), len(other)) < _TELLING:
        return one == other
    return len(one & other) >= SAME * len(one | other)


def shares_origin(one: Shingles, other: Shingles) -> bool:
    """Whether a large part of the shorter text stands in the longer one."""
    smaller = min(len(one), len(other))
    if smaller < _TELLING:
        return one == other
    return len(one & other) >= SHARED * smaller


def origins(texts: Sequence[Shingles]) -> list[str]:
    """The key of each text's origin, 16 hex digits; texts that share one, directly or through others, share the key."""
    groups: list[set[int]] = []
    for at, one in enumerate(texts):
        near = [group for group in groups if any(shares_origin(one, texts[member]) for member in group)]
        groups = [group for group in groups if group not in near] + [{at}.union(*near)]
    keys = {member: min(min(texts[each]) for each in group) for group in groups for member in group}
    return [f"{keys[at]:016x}" for at in range(len(texts))]
