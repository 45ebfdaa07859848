"""The one table of invisible characters, by class, and the two general ways to treat them. Pure.

Text from outside can hide instructions in characters that a model reads and a person does not see, and can show in
another order than it is stored. Each place that takes or shows such text states which classes it removes or names.
Format characters that have a shape, such as the Arabic number sign, are not in the table.
"""

import re
from typing import Final

CONTROLS: Final = "\x00-\x1f\x7f-\x9f"
"""C0 and C1, white space such as tab and line feed included: a user names those that it keeps."""
SEPARATORS: Final = "\u2028\u2029"
DIRECTIONS: Final = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Bidirectional marks, embeddings, overrides and isolates."""
FORMATS: Final = (
    "\u00ad\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff0-\ufffb"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
)
"""Soft hyphen, zero-width space, word joiner, byte order mark, annotations, shorthand and music controls."""
JOINERS: Final = "\u200c\u200d"
"""Zero-width joiner and non-joiner. Persian, Indic scripts and emoji need them."""
SELECTORS: Final = "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef"
"""Variation selectors."""
EMOJI_STYLES: Final = "\ufe0e\ufe0f"
"""The two of `SELECTORS` that show an emoji as text or as a picture."""
TAGS: Final = "\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
FILLERS: Final = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Letters, marks and symbols that show as nothing."""
SURROGATES: Final = "\ud800-\udfff"
"""Halves of characters. No UTF-8 text can carry them."""
PRIVATE_USE: Final = "\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd"
"""Characters that each font defines. Most fonts show a box."""

INVISIBLE: Final = CONTROLS + SEPARATORS + DIRECTIONS + FORMATS + JOINERS + SELECTORS + TAGS + FILLERS + SURROGATES
"""Every class but `PRIVATE_USE`."""

_WHITE_SPACE: Final = "\t\n\v\f\r\x1c-\x1f\x85" + SEPARATORS


def invisible(characters: str, *, keep: str) -> re.Pattern[str]:
    """Return a pattern that matches one of `characters` that is not in `keep`; both are classes of this module."""
    return re.compile(f"[{characters}](?<![{keep}])")


_REMOVED: Final = invisible(INVISIBLE, keep=_WHITE_SPACE)
_NAMED: Final = invisible(INVISIBLE + PRIVATE_USE, keep=f"\t\n\u00ad{JOINERS}{EMOJI_STYLES}")


def visible_line(text: str) -> str:
    """Return `text` on one line, without invisible characters; runs of white space become one space.

    Removes every class but `PRIVATE_USE`, so joiners and selectors of honest words and emoji as well. For text whose
    exact form does not matter.
    """
    seen = text if text.isascii() and text.isprintable() else _REMOVED.sub("", text)
    return " ".join(seen.split())


def name_invisible(text: str) -> str:
    """Return `text` with its invisible characters named, as `⟨U+202E⟩`; the result displays in the order stored.

    Keeps tab, line feed, soft hyphen, joiners and `EMOJI_STYLES`.
    """
    if text.isascii() and text.isprintable():
        return text
    return _NAMED.sub(lambda match: f"⟨U+{ord(match.group()):04X}⟩", text)
