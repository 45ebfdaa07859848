"""Text, title, date and language of an HTML page."""

import re
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final, cast

import trafilatura
from htmldate import find_date  # pyright: ignore[reportUnknownVariableType]

from services.fetcher.documents.hidden import Element, describe_hidden, without_hidden
from services.fetcher.documents.html_text import parse_html
from services.fetcher.documents.prose import paragraphs
from services.fetcher.sandbox.charset import decode_page
from services.fetcher.sandbox.protocol import MAX_HTML, MAX_TAGS, Reading, truncate

_FOR_FREE: Final = re.compile(r'"isAccessibleForFree"\s*:\s*"?false', re.IGNORECASE)
_GATE: Final = re.compile(
    r"\b(?:subscribe|subscription|subscribers?|sign in|log in|register|create an? (?:free )?account)\b.{0,80}"
    r"\b(?:to (?:read|continue|access|view|unlock)|full (?:article|story|access)|already a)\b"
    r"|\b(?:already a|for|only) (?:subscriber|member)s?\b|\bpaywall",
    re.IGNORECASE | re.DOTALL,
)
_LITTLE: Final = 1_500
"""Characters below which a page that asks for a login or a subscription counts as paywalled."""
_EMPTY: Final = 40


def read_html(data: bytes, charset: str) -> Reading:
    """Read the visible main content of a page. The result's fault is `empty` or `paywalled` if it
    has no text to read.
    """
    html, stripped = _shorten(decode_page(data, charset))
    tree = parse_html(html)
    if tree is None:
        return _empty()
    is_closed = any(_FOR_FREE.search(script.text or "") for script in tree.iter("script"))
    title, published = _title(tree), _published(tree)
    styles = "\n".join(style.text or "" for style in tree.iter("style"))
    stripped = (*describe_hidden(without_hidden(tree, styles)), *stripped)
    shown = " ".join(tree.text_content().split())
    text = paragraphs(_main_lines(tree))
    if len(text) < _LITTLE and (is_closed or _GATE.search(shown[:50_000])):
        return Reading(fault=("paywalled", "It requires a login or a subscription."))
    if len(text) < _EMPTY:
        return _empty()
    text, too_long = truncate(text)
    return Reading(text, title, published, _language(tree), (*stripped, *too_long))


def _empty() -> Reading:
    """Return the result for a page without text."""
    return Reading(fault=("empty", "It has no text, at least none without running its scripts."))


def _shorten(html: str) -> tuple[str, tuple[str, ...]]:
    """Cut HTML to `MAX_HTML` characters and `MAX_TAGS` tags, after a tag. Return it with a line
    about the cut, if any.
    """
    too_many = next(islice(re.finditer("<", html), MAX_TAGS, None), None)
    most = min(MAX_HTML, too_many.start() if too_many else MAX_HTML)
    if len(html) <= most:
        return html, ()
    end = html.rfind(">", most // 2, most) + 1 or most
    return html[:end], (f"everything after the first {end:,} characters of HTML",)


def _main_lines(tree: Element) -> Iterator[str]:
    """Return the lines of the main content, without comments and navigation."""
    text = (
        trafilatura.extract(cast("Any", tree), include_comments=False, include_tables=True, output_format="txt") or ""
    )
    return (line.strip() for line in text.split("\n") if line.strip())


def _title(tree: Element) -> str:
    """Return the title: `<title>`, else the first `<h1>`, else empty."""
    for tag in ("title", "h1"):
        for element in tree.iter(tag):
            if title := " ".join(element.text_content().split()):
                return title
    return ""


def _published(tree: Element) -> str | None:
    """Return the date of publication in the metadata, as ISO 8601; `None` if it is absent or unreadable."""
    try:
        return find_date(cast("Any", tree), original_date=True, extensive_search=False)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None


def _language(tree: Element) -> str:
    """Return the language code of the page in lower case; empty if it is absent or malformed."""
    language = tree.attrib.get("lang", "").strip().lower()
    return language if re.fullmatch(r"[a-z]{2,3}(?:-[a-z0-9]{2,8})*", language) else ""
