"""A frozen text with a quote in it, as a page shows it. Pure."""

from typing import Final

from msgspec import Struct

_AROUND: Final = 1_500
"""Characters shown before and after a quote."""
_WHOLE: Final = 200_000
"""Characters of a text that is shown without one."""


class Excerpt(Struct, frozen=True):
    """A quote and what stands around it."""

    before: str
    quote: str
    after: str
    cut_before: bool
    cut_after: bool


def excerpt(text: str, start: int | None, length: int) -> Excerpt:
    """The text around the `length` characters from `start` on; its beginning where there is no such place."""
    if start is None or not 0 <= start < start + length <= len(text):
        return Excerpt("", "", text[:_WHOLE], False, len(text) > _WHOLE)
    end = start + length
    begin, stop = max(0, start - _AROUND), min(len(text), end + _AROUND)
    return Excerpt(text[begin:start], text[start:end], text[end:stop], begin > 0, stop < len(text))
