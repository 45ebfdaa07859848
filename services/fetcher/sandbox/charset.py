"""Decoding of a page's bytes, as browsers do it. Pure."""

import codecs
import re
from encodings.aliases import aliases
from typing import Final

_MARKS: Final = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META: Final = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_EARLY: Final = 2_048
_LATIN: Final = "windows-1252"
"""Charset that browsers use for pages labelled as Latin-1 or ASCII, and for pages without a label."""
_AS_LATIN: Final = frozenset({"latin_1", "ascii", "cp1252"})
_CODECS: Final = _AS_LATIN.union(
    ("utf_8", "utf_16", "utf_16_be", "utf_16_le", "big5", "big5hkscs", "cp950", "gb2312", "gbk", "gb18030"),
    ("euc_jp", "iso2022_jp", "shift_jis", "cp932", "euc_kr", "cp949", "koi8_r", "koi8_u", "cp866", "cp874", "tis_620"),
    ("mac_roman", "mac_cyrillic", *(f"cp{number}" for number in range(1250, 1259))),
    (f"iso8859_{number}" for number in range(2, 17) if number != 12),
)
"""Charsets of web pages. Python's other codecs are no charsets, raise other errors, or take quadratic time."""


def decode_page(data: bytes, charset: str = "") -> str:
    """Decode `data`: by its byte-order mark, the header's or the page's charset, as UTF-8 if it is valid, else as
    Windows-1252.

    Never raises: only names of known charsets reach Python's search for codecs. Undecodable bytes become `�`.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(encoding, "replace")
    meta = _META.search(data[:_EARLY])
    named = _codec_of(charset) or (_codec_of(meta[1].decode("ascii")) if meta else None)
    if named:
        return data.decode(named, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        cut_short = error.start >= len(data) - 3
        return data.decode("utf-8" if cut_short else _LATIN, "replace")


def _codec_of(name: str) -> str | None:
    """Return the codec for a charset's name; `None` for names that are no charset of text."""
    label = re.sub("[^a-z0-9]+", "_", name.lower()).strip("_")
    codec = aliases.get(label, label)
    if codec not in _CODECS:
        return None
    return _LATIN if codec in _AS_LATIN else codec
