"""Characters that a model reads and a person does not see, taken out of a text. Pure.

Hidden messages are written in tag characters, in runs of zero-width characters or of variation selectors, and
bidirectional controls show a line in another order than it has. Where a script or an emoji needs a joiner or a
selector, a single one stays. All of `INVISIBLE` but tabs and line breaks is taken out otherwise.
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
    """A text without what cannot be seen. `cuts` are the places, in the text as it was, of what was taken out."""

    text: str
    cuts: tuple[int, ...] = ()

    def place(self, start: int) -> int:
        """Where the character that was at `start` is now, or the next one that is left."""
        return start - bisect_left(self.cuts, start)


def visible(text: str) -> Visible:
    """`text` as a person sees it."""
    cuts = tuple(match.start() for match in _SUSPECT.finditer(text) if not _needed(text, match.start()))
    if not cuts:
        return Visible(text)
    ends = (-1, *cuts, len(text))
    return Visible("".join(text[after + 1 : before] for after, before in pairwise(ends)), cuts)


def told(count: int) -> Iterator[str]:
    """That so many were taken out, in words; nothing where none was."""
    if count:
        yield f"{count:,} invisible character{'' if count == 1 else 's'}"


def _needed(text: str, at: int) -> bool:
    """Whether the joiner or selector here shapes what stands before it."""
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
