"""Documents from the bytes of files: title and text, which is searched, frozen and quoted."""

from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Final

from msgspec import Struct

from services.fetcher.documents.html_text import html_text
from services.fetcher.documents.markdown import markdown_text
from services.fetcher.documents.prose import unwrap
from services.fetcher.documents.rst import rst_text
from services.fetcher.findings.invisible import visible

_MAX_TITLE: Final = 200
_UTF16: Final = (b"\xff\xfe", b"\xfe\xff")


class Document(Struct, frozen=True):
    """A document. `text` is frozen: every passage is an excerpt of it, character for character."""

    title: str
    location: str
    text: str
    invisible: int = 0
    """Number of invisible characters that were removed from it."""


def _plain_text(text: str) -> tuple[str, str]:
    """Return no title, and the text with hard-wrapped paragraphs joined."""
    return "", unwrap(text)


_READERS: Final[Mapping[str, Callable[[str], tuple[str, str]]]] = {
    ".md": markdown_text,
    ".rst": rst_text,
    ".txt": _plain_text,
    ".html": html_text,
}
SUFFIXES: Final = frozenset(_READERS)
"""Suffixes of the files that are read."""


def read_document(location: str, data: bytes) -> Document | None:
    """Read `data` by the suffix of `location`, which must be in `SUFFIXES`. `None` for binary data and for no text.

    A document without a title gets its file name.
    """
    decoded = decode(data)
    if decoded is None:
        return None
    path = PurePath(location)
    shown = visible(decoded)
    title, text = _READERS[path.suffix.lower()](shown.text)
    if not text.strip():
        return None
    return Document(" ".join(title.split())[:_MAX_TITLE] or path.name, location, text, len(shown.cuts))


def decode(data: bytes) -> str | None:
    """Decode UTF-8, or UTF-16 by its mark; undecodable bytes become `�`.

    `None` for binary data: a zero byte, or one undecodable character in ten.
    """
    if data.startswith(_UTF16):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data:
        return None
    text = data.decode("utf-8-sig", errors="replace")
    return None if text.count("�") * 10 > len(text) else text
