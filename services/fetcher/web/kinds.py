"""Kind of a document, by its content type and its first bytes. Pure."""

import re
from typing import Final

from services.fetcher.sandbox.protocol import Kind
from shared.errors import Terminal

_HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_TEXT: Final = re.compile(r"text/(?:plain|markdown|x-[\w.+-]+|rtf)$")
_UNTOLD: Final = frozenset({"", "application/octet-stream", "binary/octet-stream", "unknown/unknown", "text/plain"})
_TAGS: Final = re.compile(
    rb"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.{0,1000}?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.I | re.S
)
_CHARSET: Final = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
_EARLY: Final = 1_024


def media_type(content_type: str) -> str:
    """Return the media type of a content type, in lower case: `text/html` of `text/html; charset=utf-8`."""
    return content_type.partition(";")[0].strip().lower()[:100]


def charset(content_type: str) -> str:
    """Return the charset of a content type; empty if there is none."""
    match = _CHARSET.search(content_type)
    return match[1] if match else ""


def detect_kind(content_type: str, data: bytes) -> tuple[Kind, str]:
    """Return the kind of reader and the media type. Raises `Terminal` (`damaged`, `not_text`) for others than HTML, PDF
    and text.
    """
    told = media_type(content_type)
    if data[:_EARLY].lstrip().startswith(b"%PDF-"):
        return "pdf", "application/pdf"
    if told == "application/pdf":
        raise Terminal("damaged", "Its type is PDF, but it is none.")
    if told in _HTML or (told in _UNTOLD and _TAGS.match(data[:_EARLY])):
        return "html", told if told in _HTML else "text/html"
    if (_TEXT.match(told) or told in _UNTOLD) and b"\0" not in data[:_EARLY]:
        return "text", told if told.startswith("text/") else "text/plain"
    named = told if re.fullmatch(r"[\w.+-]+/[\w.+-]+", told) and told not in _UNTOLD else "of an unknown type"
    raise Terminal("not_text", f"It is {named}; only HTML, PDF and plain text are read.")
