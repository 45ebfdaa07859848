"""What a reader sees of a text that others wrote. Pure."""

import re
from typing import Final

_UNSEEN: Final = re.compile(
    "["
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # controls, less white space
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f"  # zero width, directions
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # tags, variation selectors
    "\ud800-\udfff"  # halves of characters, which no message can carry
    "]"
)


def visible(text: str) -> str:
    """`text` on one line, without what hides in it: invisible characters, controls, and changes of direction.

    Some of these shape honest words, in Persian or in an emoji. They go as well: text that nobody can see can say
    anything to whoever reads it by machine, and a changed direction can turn a sentence around.
    """
    seen = text if text.isascii() and text.isprintable() else _UNSEEN.sub("", text)
    return " ".join(seen.split())
