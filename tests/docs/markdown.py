"""The documents for people, taken apart: links, anchors, and blocks of code."""

import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.harness.environment import ROOT

DOCUMENTS: Final = sorted(
    {
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "tests" / "evals" / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
    }
)
_MARKDOWN: Final = MarkdownIt().enable("table")


def name(path: Path) -> str:
    """The path of a document within the repository."""
    return str(path.relative_to(ROOT))


@cache
def _tokens(path: Path) -> list[Token]:
    return _MARKDOWN.parse(path.read_text(encoding="utf-8"))


def blocks(path: Path, language: str) -> list[str]:
    """The blocks of code in a document that are marked with this language."""
    return [each.content for each in _tokens(path) if each.type == "fence" and each.info == language]


def links(path: Path) -> Iterator[str]:
    """The targets of all links in a document."""
    for inline in _tokens(path):
        for each in inline.children or ():
            target = each.attrs.get("href") or each.attrs.get("src")
            if target:
                yield str(target)


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    tokens = _tokens(path)
    seen: Counter[str] = Counter()
    found: set[str] = set()
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open":
            slug = re.sub(r"[^\w\- ]", "", _text(inline).lower()).replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return found


def _text(inline: Token) -> str:
    return "".join(each.content for each in inline.children or () if each.type in ("text", "code_inline"))
