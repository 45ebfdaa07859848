"""HTML read as text: the visible words of the main content, in paragraphs.

Scripts, styles, navigation and everything marked as hidden is dropped: a person who approves
evidence must see what a model sees.
"""

import re
from collections import Counter
from html.parser import HTMLParser
from typing import Final

from services.fetcher.documents.prose import CODE_MARGIN, tidy


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


_UNSEEN: Final = _listed(
    "script style noscript template svg math nav footer form button select textarea iframe object audio video"
)
_VOID: Final = _listed("area base br col embed hr img input link meta source track wbr")
_BLOCKS: Final = _listed(
    "address article aside blockquote body caption dd details dialog div dl dt fieldset figcaption figure h1 h2 h3 h4 "
    "h5 h6 header hr html legend li main ol p pre section summary table tbody tfoot thead tr ul"
)
_CLOSED_BY_NEXT: Final = {
    "p": _BLOCKS,
    "li": frozenset({"li"}),
    "dt": frozenset({"dt", "dd"}),
    "dd": frozenset({"dt", "dd"}),
}
_UNSEEN_ROLES: Final = frozenset({"navigation", "search", "banner", "contentinfo"})
_UNSEEN_STYLE: Final = re.compile(
    r"display\s*:\s*none|visibility\s*:\s*hidden|opacity\s*:\s*0(?![.\d])|font-size\s*:\s*0(?![.\d])"
)
_PERMALINK: Final = re.compile(r"\b(?:headerlink|sphinxsidebar|visually-hidden|sr-only)\b")
_BREAK: Final = "\v"
# The parser takes quadratic time over tags and comments that never end: 50 KB of them took 15 seconds.
_STRAY: Final = re.compile(r"<(?![^<>]*>)")
_ENOUGH: Final = 200
"""Characters in `<main>` or `<article>` from which what is around them is taken for decoration."""


def html_text(html: str) -> tuple[str, str]:
    """Title (`<title>`, else the first `<h1>`, else empty) and text."""
    page = _Page()
    page.feed(_STRAY.sub("&lt;", _without_comments(html)))
    page.close()
    return page.title, page.text


def _without_comments(html: str) -> str:
    kept: list[str] = []
    at = 0
    while (start := html.find("<!--", at)) >= 0 and (end := html.find("-->", start + 4)) >= 0:
        kept.append(html[at:start])
        at = end + 3
    return "".join([*kept, html[at:]])


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[tuple[str, bool]] = []
        self._count: Counter[str] = Counter()
        self._unseen = 0
        self._words: list[str] = []
        self._prefix = ""
        self._paragraphs: list[tuple[bool, str]] = []
        self._named: dict[str, str] = {}

    @property
    def title(self) -> str:
        """What the page calls itself."""
        return self._named.get("title") or self._named.get("h1", "")

    @property
    def text(self) -> str:
        """The paragraphs of the main content, or of everything where no main content is marked."""
        self._end_paragraph()
        main = [text for inside, text in self._paragraphs if inside]
        enough = sum(map(len, main)) >= _ENOUGH
        return tidy("\n\n".join(main if enough else [text for _, text in self._paragraphs]))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element, closing first what HTML says it closes."""
        if self._open and tag in _CLOSED_BY_NEXT.get(self._open[-1][0], ()):
            self._pop()
        if tag in _BLOCKS:
            self._end_paragraph()
        if tag == "li":
            self._prefix = "- "
        elif tag in {"td", "th"} and self._words:
            self._words.append(" | ")
        elif tag == "br":
            self._words.append(_BREAK)
        if tag not in _VOID:
            unseen = tag in _UNSEEN or _is_hidden({name: value or "" for name, value in attrs})
            self._open.append((tag, unseen))
            self._count[tag] += 1
            self._unseen += unseen

    def handle_endtag(self, tag: str) -> None:
        """Close the element and what was left open inside; an end without a start is nothing."""
        if not self._count[tag]:
            return
        self._name(tag)
        if tag in _BLOCKS:
            self._end_paragraph()
        while self._pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        """Words, if a reader would see them."""
        if self._unseen:
            return
        if self._count["title"]:
            self._named.setdefault("title", " ".join(data.split()))
        else:
            self._words.append(data)

    def _pop(self) -> str:
        tag, unseen = self._open.pop()
        self._count[tag] -= 1
        self._unseen -= unseen
        return tag

    def _name(self, tag: str) -> None:
        if tag == "h1" and not self._unseen:
            self._named.setdefault("h1", " ".join("".join(self._words).split()))

    def _end_paragraph(self) -> None:
        raw = "".join(self._words)
        self._words = []
        if not raw.strip():
            return
        shown = _code(raw) if self._count["pre"] else _prose(raw)
        inside = bool(self._count["main"] or self._count["article"])
        self._paragraphs.append((inside, self._prefix + shown))
        self._prefix = ""


def _is_hidden(attributes: dict[str, str]) -> bool:
    return (
        "hidden" in attributes
        or attributes.get("aria-hidden") == "true"
        or attributes.get("role") in _UNSEEN_ROLES
        or bool(_UNSEEN_STYLE.search(attributes.get("style", "")))
        or bool(_PERMALINK.search(attributes.get("class", "")))
    )


def _code(raw: str) -> str:
    return "\n".join(CODE_MARGIN + line for line in raw.replace(_BREAK, "\n").strip("\n").split("\n"))


def _prose(raw: str) -> str:
    """Only `<br>` breaks a line; the line breaks of the source are blanks."""
    return "\n".join(shown for line in raw.split(_BREAK) if (shown := " ".join(line.split())))
