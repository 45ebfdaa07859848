"""Markdown read as text: what a person sees of it, without marks, links and comments."""

import re
from collections.abc import Iterator
from typing import Final

from services.fetcher.documents.prose import CODE_MARGIN, on_prose, reflowed, tidy

_FRONT_MATTER: Final = re.compile(r"\A---\n(.*?)\n(?:---|\.\.\.)\n", re.DOTALL)
_TITLE_FIELD: Final = re.compile(r"^title:\s*(.+)$", re.MULTILINE)
_COMMENT: Final = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_FENCE: Final = re.compile(r" {0,12}(`{3,}|~{3,})")
_HEADING: Final = re.compile(r"#{1,6}\s+(\S.*)")
_HEADING_END: Final = re.compile(r"(?<=\s)#+$|\{[#.:][^{}]*\}$")
_UNDERLINE: Final = re.compile(r"(?:={3,}|-{3,})$")
_RULE: Final = re.compile(r"([-*_])(?: ?\1){2,}$")
_TABLE_RULE: Final = frozenset(" :|-")
_REFERENCE: Final = re.compile(r" {0,3}\[[^\]]+\]:\s+\S+")
_QUOTE: Final = re.compile(r"(?: {0,3}> ?)+(?:\[!\w+\]$)?")
_CODE_SPAN: Final = re.compile(r"(`+)[^`\n](?:.*?[^`])?\1(?!`)")
_TAG: Final = re.compile(
    r"</?(?:a|b|br|center|code|details|div|em|figure|h[1-6]|hr|i|img|kbd|li|ol|p|picture|pre|source|span|strong|sub|"
    r"summary|sup|table|tbody|td|th|thead|tr|u|ul|video)(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_IMAGE: Final = re.compile(r"!\[([^\[\]]*)\](?:\([^()\s]*(?:\([^()\s]*\))?[^()]*\)|\[[^\]]*\])")
_LINK: Final = re.compile(r"\[([^\[\]]+)\](?:\([^()\s]*(?:\([^()\s]*\))?[^()]*\)|\[[^\]]*\])")
_STRONG: Final = re.compile(r"(?<![\w*])(\*\*\*|\*\*|\*)(?=\S)([^*\n]+?)(?<=\S)\1(?![\w*])")
_UNDERSCORED: Final = re.compile(r"(?<![\w_])(__|_)(?=[^\s_])([^_\n]+?)(?<=[^\s_])\1(?![\w_])")
_ESCAPE: Final = re.compile(r"\\([!-/:-@\[-`{-~])")


def markdown_text(markdown: str) -> tuple[str, str]:
    """Title (empty where there is none) and text. Code keeps its lines; nothing is rendered or run."""
    markdown = tidy(markdown)
    front = _FRONT_MATTER.match(markdown)
    titled = _TITLE_FIELD.search(front[1]) if front else None
    parts = list(_parts(_COMMENT.sub("", markdown[front.end() :] if front else markdown)))
    title = (
        titled[1].strip("\"' ") if titled else next((_inline(text) for kind, text in parts if kind == "heading"), "")
    )
    shown = [text if kind == "code" else on_prose(_inline, reflowed(text)) for kind, text in parts]
    return title, "\n\n".join(text for text in shown if text.strip())


def _parts(markdown: str) -> Iterator[tuple[str, str]]:
    """The document as headings, code and prose, in order."""
    prose: list[str] = []
    lines = iter(markdown.split("\n"))
    for line in lines:
        bare = _QUOTE.sub("", line, count=1) if line.lstrip().startswith(">") else line
        heading = _heading(bare, prose)
        fence = _FENCE.match(bare)
        if heading or fence:
            yield "prose", "\n".join(prose)
            prose = []
        if heading:
            yield "heading", heading
        elif fence:
            yield "code", _code(lines, fence[1])
        elif not _is_residue(bare):
            prose.append(bare)
    yield "prose", "\n".join(prose)


def _heading(line: str, before: list[str]) -> str:
    """The heading that ends on `line`; an underlined one is taken out of the lines `before` it."""
    if match := _HEADING.match(line):
        return _HEADING_END.sub("", match[1]).rstrip()
    if _UNDERLINE.match(line) and before and before[-1].strip() and (len(before) == 1 or not before[-2].strip()):
        return before.pop().strip()
    return ""


def _code(lines: Iterator[str], fence: str) -> str:
    code: list[str] = []
    for line in lines:
        if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            break
        code.append(CODE_MARGIN + line if line else "")
    return "\n".join(code).strip("\n")


def _is_residue(line: str) -> bool:
    return bool(_RULE.match(line) or _REFERENCE.match(line) or ("--" in line and _TABLE_RULE.issuperset(line)))


def _inline(text: str) -> str:
    """`text` without inline marks; what stands between backticks stays as it is."""
    shown: list[str] = []
    at = 0
    for span in _CODE_SPAN.finditer(text):
        shown += [_unmarked(text[at : span.start()]), span[0]]
        at = span.end()
    return _unlinked("".join([*shown, _unmarked(text[at:])]))


def _unmarked(text: str) -> str:
    return _ESCAPE.sub(r"\1", _UNDERSCORED.sub(r"\2", _STRONG.sub(r"\2", _TAG.sub("", text))))


def _unlinked(text: str) -> str:
    return _LINK.sub(r"\1", _IMAGE.sub(r"\1", text))
