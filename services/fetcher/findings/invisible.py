"""Removal of characters that a model reads and a person does not see. Pure.

Hidden messages are written in tag characters, in runs of zero-width characters or of variation selectors, and
bidirectional controls show a line in another order than it has. A single joiner or selector stays where a script or an
emoji needs it.
"""

from bisect import bisect_left
from collections.abc import Iterator
from itertools import pairwise
from typing import Final
from unicodedata import category

from msgspec import Struct

from shared.contracts.visible import EMOJI_STYLES, INVISIBLE, JOINERS, SELECTORS, SEPARATORS, invisible

_SHAPES: Final = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE0110))))
"""The variation selectors of ideographs."""
_KEPT: Final = "\t\n\r" + SEPARATORS
_SUSPECT: Final = invisible(INVISIBLE, keep=_KEPT)
_NEVER: Final = invisible(INVISIBLE, keep=_KEPT + JOINERS + SELECTORS)


class Visible(Struct, frozen=True):
    """A text without invisible characters. `cuts` are the positions, in the original text, of the removed ones,
    ascending.
    """

    text: str
    cuts: tuple[int, ...] = ()

    def position(self, start: int) -> int:
        """Return the position in `text` of the character at `start` of the original, or of the next
        one that is left.
        """
        return start - bisect_left(self.cuts, start)


def visible(text: str) -> Visible:
    """Remove the invisible characters of `text`."""
    cuts = tuple(match.start() for match in _SUSPECT.finditer(text) if not _is_needed(text, match.start()))
    if not cuts:
        return Visible(text)
    ends = (-1, *cuts, len(text))
    return Visible("".join(text[after + 1 : before] for after, before in pairwise(ends)), cuts)


def describe_removed(count: int) -> Iterator[str]:
    """Yield a line with the number of removed characters; nothing for 0."""
    if count:
        yield f"{count:,} invisible character{'' if count == 1 else 's'}"


def _is_needed(text: str, at: int) -> bool:
    """Return True if the joiner or selector at `at` shapes the character before it."""
    mark, before, after = text[at], text[at - 1 : at], text[at + 1 : at + 2]
    if mark == "\u200d" and before == "\ufe0f":
        before = text[at - 2 : at - 1]
    if _NEVER.match(mark) or not before or before.isascii() or _SUSPECT.match(before):
        return at > 0 and mark == "\ufe0f" and before in "#*0123456789" and after == "\u20e3"
    kind = category(before)
    if mark in JOINERS:
        joined = bool(after) and not after.isascii() and not _SUSPECT.match(after)
        return joined and (kind[0] in "LM" or kind in {"So", "Sk"})
    if kind == "Lo":
        return mark in _SHAPES
    return kind in {"So", "Sm", "Po"} and mark in EMOJI_STYLES
