"""Excerpts of frozen texts around a quote. Pure."""

from typing import Final

from msgspec import Struct

_AROUND: Final = 1_500
"""Characters shown before and after a quote."""
_WHOLE: Final = 200_000
"""Characters of a text that is shown without one."""


class Excerpt(Struct, frozen=True):
    """A quote with up to 1,500 characters before and after it; `cut_before` and `cut_after` if there are more."""

    before: str
    quote: str
    after: str
    cut_before: bool
    cut_after: bool


def excerpt(text: str, start: int | None, length: int) -> Excerpt:
    """The text around the `length` characters from `start`. Without a start, or if the text has no such range: its
    first 200,000 characters, in `after`.
    """
    if start is None or not 0 <= start < start + length <= len(text):
        return Excerpt("", "", text[:_WHOLE], False, len(text) > _WHOLE)
    end = start + length
    begin, stop = max(0, start - _AROUND), min(len(text), end + _AROUND)
    return Excerpt(text[begin:start], text[start:end], text[end:stop], begin > 0, stop < len(text))
