"""Hard-wrapped plain text made into clean paragraphs.

A report quotes sentences, and a sentence cut by line breaks and margins is hard to quote. So
prose is put on one line a paragraph, list items on one line each, while code, tables and
doctests keep their lines. What is prose is judged by its look, since plain text does not say.
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
    """`text` without invisible characters, trailing blanks and runs of empty lines; line breaks are `\\n`."""
    lines = _UNSEEN.sub("", "\n".join(text.splitlines())).expandtabs(4).split("\n")
    return _BLANK_LINES.sub("\n\n", "\n".join(line.rstrip() for line in lines)).strip("\n")


def reflowed(text: str) -> str:
    """`text` as paragraphs between empty lines: prose unwrapped and at the margin, code indented by four."""
    shown: list[str] = []
    code_at = 0
    for lines in (block.split("\n") for block in tidy(text).split("\n\n")):
        goes_on = code_at and min(map(_indent, lines)) >= code_at and not _reads(lines)
        if not goes_on:
            code_at = _indent(lines[0]) if _is_set_off(lines) else 0
        shown.append(_as_code(lines, code_at) if code_at else _block(lines))
    return "\n\n".join(shown)


def unwrapped(text: str) -> str:
    """`text`, its line breaks taken out where paragraphs look hard-wrapped, its other lines as they are.

    For files that promise no structure: verse, logs and addresses keep their lines.
    """
    return "\n\n".join(_joined(block) if _hard_wrapped(block) else block for block in tidy(text).split("\n\n"))


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


def on_prose(change: Callable[[str], str], text: str) -> str:
    """Reflowed `text` with each line changed but those of code."""
    return "\n".join(line if line.startswith(CODE_MARGIN) else change(line) for line in text.split("\n"))


def _is_code(lines: list[str]) -> bool:
    """Whether indented or prompted lines look like code or a table rather than like sentences."""
    if _BULLET.match(lines[0].strip()):
        return False
    stated = sum(1 for line in lines if _STATEMENT.match(line.strip()))
    whole = " ".join(line.strip() for line in lines)
    has_signs = bool(_CODE_SIGN.search(whole)) and not _LABEL.match(whole)
    return stated * 2 >= len(lines) or (has_signs and not _PLAIN_WORDS.search(whole))


def _reads(lines: list[str]) -> bool:
    return bool(_BULLET.match(lines[0].strip()) or _SENTENCES.match(" ".join(lines)))


def _hard_wrapped(block: str) -> bool:
    lines = block.split("\n")
    return len(lines) > 1 and all(45 <= len(line) <= 120 for line in lines[:-1]) and not _is_code(lines)


def _joined(block: str) -> str:
    return "\n".join(_logical(block.split("\n")))


def _block(lines: list[str]) -> str:
    return "\n".join(shown for run in _runs(lines) for shown in _run(run))


def _runs(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines in runs that are alike: a deeper line goes on with its list item, else begins a new run."""
    run: list[str] = []
    for line in lines:
        if run and (_indent(line) < _indent(run[0]) or _hangs_from_nothing(line, run)):
            yield run
            run = []
        run.append(line)
    if run:
        yield run


def _hangs_from_nothing(line: str, run: list[str]) -> bool:
    return _indent(line) > _indent(run[0]) and not _ITEM.match(run[0].strip()) and not _is_set_off(run)


def _run(lines: list[str]) -> Iterator[str]:
    if lines[0].startswith(">>>") or _is_set_off(lines) or (len(lines) > 1 and all(map(_is_statement, lines))):
        yield _as_code(lines, _indent(lines[0]))
    else:
        yield from _logical(lines)


def _is_statement(line: str) -> bool:
    return bool(_STATEMENT.match(line) and not _TABLE.match(line))


def _is_set_off(lines: list[str]) -> bool:
    """Whether all of the lines are indented and look like code."""
    margin = _indent(lines[0])
    return margin > 0 and min(map(_indent, lines)) >= margin and _is_code(lines)


def _as_code(lines: list[str], margin: int) -> str:
    return "\n".join(CODE_MARGIN + line[margin:] for line in lines)


def _logical(lines: list[str]) -> Iterator[str]:
    """Lines joined to whole paragraphs and items; rows of tables stay alone."""
    whole: list[str] = []
    for line in (line.strip() for line in lines):
        if whole and (_ITEM.match(line) or _TABLE.match(line) or _TABLE.match(whole[-1])):
            yield _spaced(whole)
            whole = []
        whole.append(line)
    if whole:
        yield _spaced(whole)


def _spaced(whole: list[str]) -> str:
    line = _BROKEN_WORD.sub("-", "\n".join(whole)).replace("\n", " ")
    return line if _TABLE.match(line) else _BLANKS.sub(" ", line)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
