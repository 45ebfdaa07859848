"""HTML of a file as text: the visible words of the main content, in paragraphs.

Scripts, styles, navigation and hidden elements are left out: a person who approves evidence must see the same text as a
model.
"""

from collections.abc import Iterator
from typing import Any, Final, cast

import lxml.html  # pyright: ignore[reportMissingTypeStubs]

from services.fetcher.documents.hidden import Element, without_hidden
from services.fetcher.documents.prose import CODE_MARGIN, one_line, paragraphs
from shared.text.words import word_set

_html: Any = lxml.html
_etree: Any = _html.etree
_DECORATION: Final = (
    "//nav | //footer | //form | //button | //select | //textarea"
    " | //*[@role='navigation' or @role='search' or @role='banner' or @role='contentinfo']"
    " | //*[contains(@class, 'headerlink') or contains(@class, 'sphinxsidebar')]"
)
_MAIN: Final = "//*[self::main or self::article][not(ancestor::main or ancestor::article)]"
_MIN_MAIN: Final = 200
"""Characters of text in `<main>` and `<article>` from which the rest of the page is left out."""
_HEADINGS: Final = ("h1", "h2", "h3", "h4", "h5", "h6")
_BLOCKS: Final = word_set(
    "address article aside blockquote body caption dd details dialog div dl dt fieldset figcaption figure header hr "
    "h1 h2 h3 h4 h5 h6 legend li main ol p pre section summary table tbody tfoot thead tr ul"
)
_LINE: Final = "\v"
_OPENING: Final = {"code": "`", "td": "| ", "th": "| "}
_CLOSING: Final = {"code": "`", "td": " ", "th": " ", "tr": "|", "br": _LINE}


def parse_html(html: str) -> Element | None:
    """Return the root of the page; `None` for a page without a single element or word. Never raises for bad HTML."""
    try:
        parser = _html.HTMLParser(encoding="utf-8", huge_tree=True)
        return cast("Element", _html.document_fromstring(html.encode("utf-8", "replace"), parser=parser))
    except _etree.ParserError:
        return None


def html_text(html: str) -> tuple[str, str]:
    """Return title (`<title>`, else the first heading, else empty) and text (may be empty)."""
    tree: Any = parse_html(html)
    if tree is None:
        return "", ""
    without_hidden(tree, "\n".join(style.text or "" for style in tree.iter("style")))
    for element in tree.xpath(_DECORATION):
        element.drop_tree()
    titles = (" ".join(_blocks(element)) for element in tree.iter("title", *_HEADINGS))
    main = paragraphs(block for element in tree.xpath(_MAIN) for block in _blocks(element))
    if len(main) < _MIN_MAIN:
        main = paragraphs(block for element in tree.iter("body") for block in _blocks(element))
    return next(filter(None, titles), ""), main


def _blocks(root: Any) -> Iterator[str]:
    """Yield the paragraphs, headings, list items, table rows and blocks of code below `root`, in order.

    Items begin with `- ` or their number, cells stand between `|`, lines of code begin with `CODE_MARGIN`.
    """
    words: list[str] = []
    prefix = ""
    walk = _etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        tag, is_start = element.tag, event == "start"
        if not is_start:
            words.append(_CLOSING.get(tag, ""))
        if tag in _BLOCKS:
            if block := _block(words):
                yield prefix + block
                prefix = ""
            words = []
        if not is_start:
            words.append(element.tail or "")
        elif tag == "pre":
            yield _code(element.text_content())
            walk.skip_subtree()
        else:
            prefix = _item_prefix(element) if tag == "li" else prefix
            words += [_OPENING.get(tag, ""), element.get("alt", "") if tag == "img" else element.text or ""]
    if root.tag not in _BLOCKS:
        yield from filter(None, [_block(words)])


def _block(words: list[str]) -> str:
    """Return `words` as lines, broken at `<br>` only; empty if no letter or digit is in them."""
    lines = [line for part in "".join(words).split(_LINE) if (line := one_line(part))]
    text = "\n".join(lines)
    return text if any(map(str.isalnum, text)) else ""


def _code(text: str) -> str:
    """Return `text` with its lines as they are, indented by `CODE_MARGIN`."""
    return "\n".join((CODE_MARGIN + line).rstrip() for line in text.expandtabs(4).strip("\n").split("\n"))


def _item_prefix(item: Any) -> str:
    """Return the mark of a list item: `- `, or in an ordered list its number and `. `."""
    parent = item.getparent()
    if parent is None or parent.tag != "ol":
        return "- "
    start = parent.get("start", "")
    return f"{(int(start) if start.isdecimal() else 1) + parent.index(item)}. "
