"""Paragraphs from hard-wrapped plain text.

A report quotes sentences, and a sentence with line breaks and margins is hard to quote. So paragraphs and list items
are put on one line each, while code, tables and doctests keep their lines. Prose is recognized by its look, since plain
text has no markup for it.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from shared.contracts.visible import INVISIBLE, JOINERS, SELECTORS, invisible

_UNSEEN: Final = invisible(INVISIBLE, keep="\t\n" + JOINERS + SELECTORS)
"""Joiners and selectors depend on what stands before them: `findings.invisible` judges them."""
_BLANK_LINES: Final = re.compile(r"\n(?:[ \t]*\n)+")
_BROKEN_WORD: Final = re.compile(r"(?<=[a-z])-\n(?!and\b|or\b|to\b)(?=[a-z])")
_ROW: Final = re.compile(r"[-*|] ?|\d+\. ")
_BLANKS: Final = re.compile(r" {2,}")
_ITEM: Final = re.compile(
    r"(?:[-*+•o]|\(?\d{1,3}[.)]|\(?[a-z]\)|:\w[^:]*:|\*{0,2}[\w.]+(?:\([^)]{0,60}\))? +-[->]?|\*{0,2}\w+:)\s+\S"
)
_PLAIN_WORDS: Final = re.compile(r"(?:^|\s)[A-Za-z]?[a-z']+,? [a-z']+,? [a-z']+(?=[\s,:;)]|\.(?:\s|$)|$)")
_CODE_SIGN: Final = re.compile(r"[=(){}\[\]<>|_#;:*/\\]")
_LABEL: Final = re.compile(r"[A-Z][a-z]+(?: \w+){0,5}:$")
_STATEMENT: Final = re.compile(
    r"(?:>>>|\.\.\.|\$ |#|@\w|(?:async|def|class|for|while|if|elif|else|try|except|finally|with|match|case)\b.*:$"
    r"|import [\w., ]+$|from [\w.]+ import .*|(?:return|await|raise|print)\b[^.]*[)\w]$"
    r"|\w[\w.\[\]]* [-+*/|]?= |[|+].*[|+]$|.*::=)"
)
_BULLET: Final = re.compile(r"(?:[-*+•]|\d{1,3}[.)])\s")
_SENTENCES: Final = re.compile(r"\s*[A-Z][a-z]* [^=(){}]*[.:]$")
_TABLE: Final = re.compile(r"[-=+|]{3}[-=+| ]*$|\|.*\|$|\S.*\S {3,}\S")
CODE_MARGIN: Final = "    "


def tidy(text: str) -> str:
    """Return `text` without invisible characters, trailing blanks and runs of empty lines; line breaks are `\\n`, tabs
    four blanks.
    """
    lines = _UNSEEN.sub("", "\n".join(text.splitlines())).expandtabs(4).split("\n")
    return _BLANK_LINES.sub("\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n")


def reflow(text: str) -> str:
    """Return `text` as paragraphs between empty lines: prose unwrapped and at the margin, code indented by four."""
    shown: list[str] = []
    code_at = 0
    for lines in (block.split("\n") for block in tidy(text).split("\n\n")):
        goes_on = code_at and min(map(_indent, lines)) >= code_at and not _is_item_or_sentence(lines)
        if not goes_on:
            code_at = _indent(lines[0]) if _is_set_off(lines) else 0
        shown.append(_indent_code(lines, code_at) if code_at else _reflow_block(lines))
    return "\n\n".join(shown)


def unwrap(text: str) -> str:
    """Return `text` without the line breaks of paragraphs that look hard-wrapped; other lines stay.

    For files without a known structure: verse, logs and addresses keep their lines.
    """
    return "\n\n".join(_join_block(block) if _hard_wrapped(block) else block for block in tidy(text).split("\n\n"))


def paragraphs(blocks: Iterable[str]) -> str:
    """Return `blocks` with an empty line between them; items and rows that follow each other stay on adjacent lines."""
    parts: list[str] = []
    was_row = False
    for block in blocks:
        is_row = _ROW.match(block) is not None
        parts.append(("\n" if is_row and was_row else "\n\n") + block)
        was_row = is_row
    return "".join(parts).strip("\n")


def one_line(text: str) -> str:
    """Return the words of `text` with one blank between them; a word that a line break divided is whole again."""
    return " ".join(_BROKEN_WORD.sub("-", text).split())


def map_prose(change: Callable[[str], str], text: str) -> str:
    """Apply `change` to each line of reflowed `text` that is no code."""
    return "\n".join(line if line.startswith(CODE_MARGIN) else change(line) for line in text.split("\n"))


def _is_code(lines: list[str]) -> bool:
    """Return True if the lines look like code or a table rather than sentences. They must be indented or prompted."""
    if _BULLET.match(lines[0].strip()):
        return False
    stated = sum(1 for line in lines if _STATEMENT.match(line.strip()))
    whole = " ".join(line.strip() for line in lines)
    has_signs = bool(_CODE_SIGN.search(whole)) and not _LABEL.match(whole)
    return stated * 2 >= len(lines) or (has_signs and not _PLAIN_WORDS.search(whole))


def _is_item_or_sentence(lines: list[str]) -> bool:
    """Return True if the lines are a list item or whole sentences."""
    return bool(_BULLET.match(lines[0].strip()) or _SENTENCES.match(" ".join(lines)))


def _hard_wrapped(block: str) -> bool:
    """Return True if all lines but the last are of a typical width, and are no code."""
    lines = block.split("\n")
    return len(lines) > 1 and all(45 <= len(line) <= 120 for line in lines[:-1]) and not _is_code(lines)


def _join_block(block: str) -> str:
    """Return a block with its paragraphs and items on one line each."""
    return "\n".join(_join_lines(block.split("\n")))


def _reflow_block(lines: list[str]) -> str:
    """Return a block with its prose unwrapped and its code indented."""
    return "\n".join(shown for run in _split_runs(lines) for shown in _reflow_run(run))


def _split_runs(lines: Iterable[str]) -> Iterator[list[str]]:
    """Yield runs of lines of one kind: a deeper line continues its list item, else it begins a new run."""
    run: list[str] = []
    for line in lines:
        if run and (_indent(line) < _indent(run[0]) or _begins_run(line, run)):
            yield run
            run = []
        run.append(line)
    if run:
        yield run


def _begins_run(line: str, run: list[str]) -> bool:
    """Return True if `line` is deeper than a run that is neither a list item nor set off."""
    return _indent(line) > _indent(run[0]) and not _ITEM.match(run[0].strip()) and not _is_set_off(run)


def _reflow_run(lines: list[str]) -> Iterator[str]:
    """Yield the lines of a run: code indented, prose joined."""
    if lines[0].startswith(">>>") or _is_set_off(lines) or (len(lines) > 1 and all(map(_is_statement, lines))):
        yield _indent_code(lines, _indent(lines[0]))
    else:
        yield from _join_lines(lines)


def _is_statement(line: str) -> bool:
    """Return True for a line that looks like a statement of code and is no table."""
    return bool(_STATEMENT.match(line) and not _TABLE.match(line))


def _is_set_off(lines: list[str]) -> bool:
    """Return True if all lines are indented and look like code."""
    margin = _indent(lines[0])
    return margin > 0 and min(map(_indent, lines)) >= margin and _is_code(lines)


def _indent_code(lines: list[str], margin: int) -> str:
    """Return the lines without `margin` characters, indented by `CODE_MARGIN`."""
    return "\n".join(CODE_MARGIN + line[margin:] for line in lines)


def _join_lines(lines: list[str]) -> Iterator[str]:
    """Yield whole paragraphs and items; rows of tables stay alone."""
    whole: list[str] = []
    for line in (line.strip() for line in lines):
        if whole and (_ITEM.match(line) or _TABLE.match(line) or _TABLE.match(whole[-1])):
            yield _join_words(whole)
            whole = []
        whole.append(line)
    if whole:
        yield _join_words(whole)


def _join_words(whole: list[str]) -> str:
    """Join lines with single blanks, and mend words that a hyphen divides; rows of tables keep their blanks."""
    line = _BROKEN_WORD.sub("-", "\n".join(whole)).replace("\n", " ")
    return line if _TABLE.match(line) else _BLANKS.sub(" ", line)


def _indent(line: str) -> int:
    """Return the number of leading blanks."""
    return len(line) - len(line.lstrip())
