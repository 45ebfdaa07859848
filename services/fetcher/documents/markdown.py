"""Markdown as text: the words that the rendered page shows."""

import re
from typing import Final

from markdown_it import MarkdownIt

from services.fetcher.documents.html_text import html_text

_MARKDOWN: Final = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_FRONT_MATTER: Final = re.compile(r"\A---\r?\n(.*?)\r?\n(?:---|\.\.\.)\r?\n", re.DOTALL)
_TITLE_FIELD: Final = re.compile(r"^title:\s*(.+?)\s*$", re.MULTILINE)
_EXTENSIONS: Final = re.compile(
    r"^(?P<quote>(?: {0,3}>)+) ?\[!\w+\]\s*$|^(?P<heading>#{1,6} [^\n{]*)\{[#.:][^{}\n]*\}\s*$", re.MULTILINE
)
"""Extensions that no reader sees: the kind of a callout (`[!NOTE]`), and the anchor of a heading (`{#name}`)."""


def markdown_text(markdown: str) -> tuple[str, str]:
    """Return title and text. The title is the `title` of the front matter, else the first heading, else empty.

    HTML within Markdown is read as `html_text` reads it; nothing is run or loaded.
    """
    front = _FRONT_MATTER.match(markdown)
    field = _TITLE_FIELD.search(front[1]) if front else None
    body = markdown[front.end() :] if front else markdown
    body = _EXTENSIONS.sub(lambda match: match["quote"] or match["heading"], body)
    title, text = html_text(_MARKDOWN.render(body))
    return field[1].strip("\"' ") if field else title, text
