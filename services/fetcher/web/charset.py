"""Bytes of a page made characters, the way browsers do it. Pure."""

import codecs
import re
from typing import Final

_MARKS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META: Final = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_EARLY: Final = 2_048
_LATIN: Final = "windows-1252"
"""What browsers read for everything that calls itself Latin-1 or ASCII, and for what calls itself nothing."""
_AS_LATIN: Final = frozenset({"iso8859-1", "ascii", "cp1252"})


def decoded(data: bytes, charset: str = "") -> str:
    """`data` as text: by its byte-order mark, what the header or the page says, UTF-8 if it is that, else Latin-1."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    meta = _META.search(data[:_EARLY])
    named = _known(charset) or (_known(meta[1].decode("ascii")) if meta else None)
    if named:
        return data.decode(named, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        cut_short = error.start >= len(data) - 3
        return data.decode("utf-8" if cut_short else _LATIN, "replace")


def _known(name: str) -> str | None:
    """The codec that a page means by this name; `None` for what is no encoding of text."""
    try:
        info = codecs.lookup(name)
        "".encode(info.name)
    except (LookupError, UnicodeError, ValueError):
        return None
    return _LATIN if info.name in _AS_LATIN else info.name
