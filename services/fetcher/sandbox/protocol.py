"""Messages between `pool.py` and its worker processes: MessagePack, each after its length."""

import struct
from typing import Final, Literal

from msgspec import Struct

Kind = Literal["html", "pdf", "text"]

MAX_TEXT: Final = 500_000
"""Characters of one document that are kept."""
MAX_HTML: Final = 1_000_000
"""Characters of HTML that are read: time and memory grow faster than the page."""
MAX_TAGS: Final = 60_000
"""Tags of a page that are read, for the same reason: 300,000 paragraphs took more than ten seconds."""

LENGTH: Final = struct.Struct(">I")
"""Length prefix of every message, in bytes."""


class ReadRequest(Struct, frozen=True):
    """A document to read. `charset` is that of the HTTP header, or empty."""

    kind: Kind
    data: bytes
    charset: str = ""


class Reading(Struct, frozen=True):
    """Text and metadata of a document. With a `fault` (code and message) the other fields are empty.

    `stripped` has a line for each kind of content that was removed.
    """

    text: str = ""
    title: str = ""
    published: str | None = None
    language: str = ""
    stripped: tuple[str, ...] = ()
    fault: tuple[str, str] | None = None


class Reply(Struct, frozen=True):
    """A result; `last` if the worker process exits after it."""

    reading: Reading
    last: bool = False


def truncate(text: str) -> tuple[str, tuple[str, ...]]:
    """Cut a text to `MAX_TEXT` characters, after a word. Return it with a line about the cut, if any."""
    if len(text) <= MAX_TEXT:
        return text, ()
    kept = text[:MAX_TEXT].rpartition(" ")[0] or text[:MAX_TEXT]
    return kept, (f"everything after the first {len(kept):,} characters",)
