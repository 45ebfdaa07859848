"""What a page is given to a reader with, and what comes back: the words between `readers.py` and its processes."""

import struct
from typing import Final, Literal

from msgspec import Struct

Kind = Literal["html", "pdf", "text"]

MAX_TEXT: Final = 500_000
"""Characters of one document that are kept."""
MAX_HTML: Final = 1_000_000
"""Characters of HTML that are read: time and memory grow faster than the page."""
MAX_TAGS: Final = 60_000
"""Tags that are read of a page, for the same reason: a third of a million paragraphs took more than ten seconds."""

LENGTH: Final = struct.Struct(">I")
"""Goes before every message."""


class Order(Struct, frozen=True):
    """A document to be read."""

    kind: Kind
    data: bytes
    charset: str = ""


class Reading(Struct, frozen=True):
    """What it says. With a `fault` (a code and a sentence) it says nothing."""

    text: str = ""
    title: str = ""
    published: str | None = None
    language: str = ""
    stripped: tuple[str, ...] = ()
    fault: tuple[str, str] | None = None


class Reply(Struct, frozen=True):
    """A reading, and whether the process that made it ends with it."""

    reading: Reading
    last: bool = False


def cut(text: str) -> tuple[str, tuple[str, ...]]:
    """As much of a text as is kept, whole words, and what is to be said of that."""
    if len(text) <= MAX_TEXT:
        return text, ()
    kept = text[:MAX_TEXT].rpartition(" ")[0] or text[:MAX_TEXT]
    return kept, (f"everything after the first {len(kept):,} characters",)
