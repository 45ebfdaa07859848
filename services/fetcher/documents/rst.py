"""reStructuredText as text: without roles, targets and directives, but with their words."""

import re
from collections.abc import Iterator
from itertools import dropwhile, pairwise
from typing import Final

from services.fetcher.documents.prose import map_prose, reflow, tidy
from shared.text.words import word_set

_ADORNMENT: Final = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}$")
_MARKUP: Final = re.compile(r"\s*\.\.(?:\s|$)")
_DIRECTIVE: Final = re.compile(r"(\s*)\.\. (?:\|[^|]+\| )?([\w:+-]+)::\s*(.*)$")
_OPTION: Final = re.compile(r"\s+:[\w-]+:(?:\s|$)")
_CHANGE: Final = {
    "versionadded": "Added in version {}.",
    "versionchanged": "Changed in version {}:",
    "deprecated": "Deprecated since version {}.",
}


_LITERAL_BLOCKS: Final = word_set("code code-block sourcecode doctest testcode parsed-literal prompt")
_ADMONITIONS: Final = word_set("attention caution danger error hint important note tip warning seealso")
_UNSEEN: Final = word_set(
    "image figure toctree contents index highlight include literalinclude meta raw only module currentmodule "
    "automodule autoclass autofunction tabularcolumns sectionauthor moduleauthor testsetup testcleanup math role "
    "default-role replace unicode csv-table list-table table"
)
_TARGETED_ROLE: Final = re.compile(r":[a-z][\w:+.-]{0,40}:`!?~?([^`<]*?)\s*<[^`>]*>`")
_ROLE: Final = re.compile(r":[a-z][\w:+.-]{0,40}:`(?:!|~(?:[\w]+\.)*)?([^`]+)`")
_HYPERLINK: Final = re.compile(r"`([^`<]+?)\s*<[^`>]+>`__?")
_REFERENCE: Final = re.compile(r"`([^`]+)`__?(?!\w)|\s?(?<!\w)\[[#\w*]+\]_(?!\w)")
_LITERAL: Final = re.compile(r"``(.+?)``")
_EMPHASIS: Final = re.compile(r"(?<![\w*`])(\*\*|\*)(?=[^\s*])([^*\n]+?)(?<=\S)\1(?![\w*])")
_SUBSTITUTION: Final = re.compile(r"(?<![\w|])\|(\w[\w ]*)\|(?![\w|])")
_FIELD: Final = re.compile(r":[\w-]+:(?:\s|$)")


def rst_text(rst: str) -> tuple[str, str]:
    """Return title (the first heading, else empty) and text."""
    lines = tidy(rst).split("\n")
    headings = [strip_markup(line) for line, below in pairwise(lines) if _is_heading(line, below)]
    shown = reflow("\n".join(_visible_lines(lines)))
    return next(iter(headings), ""), map_prose(strip_markup, shown)


def strip_markup(line: str) -> str:
    """Return one paragraph without roles, references and emphasis."""
    line = _ROLE.sub(r"\1", _TARGETED_ROLE.sub(r"\1", line))
    line = _REFERENCE.sub(lambda match: match[1] or "", _HYPERLINK.sub(r"\1", line))
    return _SUBSTITUTION.sub(r"\1", _EMPHASIS.sub(r"\2", _LITERAL.sub(r"`\1`", line))).rstrip()


def _is_heading(line: str, below: str) -> bool:
    """Return True if `below` underlines `line`."""
    return bool(
        _ADORNMENT.match(below) and line.strip() and not _ADORNMENT.match(line) and len(below) + 3 > len(line.rstrip())
    )


def _visible_lines(lines: list[str]) -> Iterator[str]:
    """Yield the lines that a rendered page shows."""
    lines = list(dropwhile(lambda line: not line or _FIELD.match(line), lines))
    hidden_at: int | None = None
    in_options = False
    for line in lines:
        if hidden_at is not None and (not line or _margin(line) > hidden_at):
            continue
        hidden_at = None
        if in_options and _OPTION.match(line):
            continue
        in_options = False
        if _ADORNMENT.match(line):
            yield ""
        elif _MARKUP.match(line):
            shown = _directive(line)
            in_options = shown is not None
            hidden_at = _margin(line) if shown is None else None
            yield from ("", shown or "")
        else:
            yield _without_literal_mark(line)


def _without_literal_mark(line: str) -> str:
    """Return the line with `:` for a final `::`, which marks a literal block."""
    if not line.endswith("::"):
        return line
    words = line.rstrip(" :")
    return words and f"{words}:"


def _directive(line: str) -> str | None:
    """Return the text that replaces a directive's first line; `None` if directive and body are not shown."""
    match = _DIRECTIVE.match(line)
    if not match or match[2] in _UNSEEN:
        return None
    margin, name, argument = match.groups()
    if name in _CHANGE:
        version, _, rest = argument.partition(" ")
        return f"{margin}{_CHANGE[name].format(version)} {rest}".rstrip()
    if name in _LITERAL_BLOCKS:
        return ""
    return f"{margin}   {argument}" if name in _ADMONITIONS else f"{margin}{argument}"


def _margin(line: str) -> int:
    """Return the number of leading blanks."""
    return len(line) - len(line.lstrip())
