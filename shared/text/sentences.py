"""Complete sentences of a passage, with their positions. Pure.

Documents have headings, signatures, tables, doctests and markup. Those are left out line by line, and sentences are
sought within the remaining blocks of prose. So a sentence is always a verbatim part of the passage, and never spans two
blocks.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

SHORTEST: Final = 30
LONGEST: Final = 360
_FEWEST_WORDS: Final = 5
_WRAPPED: Final = 45
"""Length from which a line of prose is taken as wrapped; a shorter one before a capital letter may be a heading."""

_NOT_PROSE: Final = re.compile(
    r"""
    \s* (?:
        (?: >>> | \.\.\.) (?:\s|$)                              # a doctest
      | \.\.(?:\s|$) | :[^:`\s][^:`]*:(?:\s|$)                  # a directive, a field
      | [#]{1,6}\s | [#]! | // | \$\s | %                       # a heading, a comment, a shell prompt
      | [+|] | .*\s\|\s | .*\t                                  # a table
      | ([=\-~^"'\#*+_.:])\1{2,}\s*$                            # a rule, the underline of a heading
      | (?:@|(?:async|def|class|exception|import|from\s+\S+\s+import|return|raise|await|elif|except|print)\b(?=.*[(:=]))
      | [\w.]+\ ?\([^()]*(?:\([^()]*\)[^()]*)*\)\s*(?:->.*)?[:¶]?\s*$     # a signature, a call
      | [\w.\[\]"', ]+\s*(?:[-+*/|&]|::)?=\s                    # an assignment, a production
    )
    """,
    re.VERBOSE,
)
_UNDERLINE: Final = re.compile(r"""\s*([=\-~^"'#*+])\1{2,}\s*$""")
_BULLET: Final = re.compile(r"\s*(?:[-*+•‣◦]|\(?(?:\d{1,2}|[a-z])[.)])\s+(?=\S)")
_GUTTER: Final = re.compile(r"\s*\|(?: {1,2}|$)")
_FENCE: Final = re.compile(r"\s*(?:```|~~~)")
_INDENT: Final = re.compile(r"\s*")

_END: Final = re.compile(
    r"""(?:[.!?]+["'”’)\]*`_]*(?=\s+["'“‘(\[*`:]*[^\W_a-z]|\s+["“`:]|\s+\w+[._]\w+[._(\s]|\s*$)|[。！？]+[」』）]*)""",
)
_ABBREVIATION: Final = re.compile(
    r"(?:^|[\s(\[\"'“])(?:e\.g|i\.e|cf|vs|viz|ca|approx|incl|resp|Fig|Eq|Sec|No|Vol|pp?|Mr|Mrs|Ms|Dr|Prof|St|[A-Z])\.$"
)
_OPENING: Final = re.compile(r"""["'“‘(\[*`]*(?:[^\W\d_a-z]|[`"“]{1,2}\w|:\w+:`|\w+[._(]\w|\w+\(\))""")
_CLOSING: Final = re.compile(r"""[.!?]["'”’)\]*`_]*$|[。！？][」』）]*$""")
_LABELLED: Final = re.compile(r"[\w.]+(?:\([^()]*\))?(?:\s*->[^:]*)?:\s[A-Z][^:]*\w$")
"""A definition such as `os.getpid(): Return the current process id`, which commonly has no full stop."""
_RESIDUE: Final = re.compile(r" [<>=~^]+ |>>>|¶|\||\S{60}|\.\.\s|^\W*\w+(?: \w+)?:\s*$|::$")
_PAIRS: Final = ("()", "[]", "{}", "“”")


@dataclass(frozen=True)
class Sentence:
    """A sentence, verbatim, and its position in its passage.

    `follows`: the sentence before it in the list stands directly before it in the same paragraph.
    """

    text: str
    start: int
    follows: bool


@dataclass(frozen=True)
class _Line:
    start: int
    end: int
    indent: int
    opens: bool


def sentences(passage: str) -> list[Sentence]:
    """Return the sentences of `passage` that can stand in a report, in order."""
    found: list[Sentence] = []
    for start, end in blocks(passage):
        previous = False
        for first, last in split_sentences(passage[start:end]):
            text = passage[start + first : start + last]
            complete = reads_well(text)
            if complete:
                found.append(Sentence(text, start + first, previous))
            previous = complete
    return found


def blocks(passage: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each block of prose: consecutive lines at one indentation, each list item apart."""
    current: _Line | None = None
    for line in _prose(passage):
        if current and line and _goes_on(passage, current, line):
            current = _Line(current.start, line.end, current.indent, False)
            continue
        if current:
            yield current.start, current.end
        current = line
    if current:
        yield current.start, current.end


def _goes_on(passage: str, block: _Line, line: _Line) -> bool:
    """Return True if `line` continues `block`: no item of its own, same indentation, and no heading before it."""
    if line.indent != block.indent or line.opens:
        return False
    last = passage[passage.rfind("\n", block.start, block.end) + 1 or block.start : block.end]
    return len(last) >= _WRAPPED or last[-1] in ".,;:!?-" or not passage[line.start].isupper()


def reads_well(text: str) -> bool:
    """Return True if `text` is one complete sentence of prose of a usable length, without open brackets or quotes."""
    flat = " ".join(text.split())
    if not SHORTEST <= len(flat) <= LONGEST or _RESIDUE.search(flat):
        return False
    ends = _CLOSING.search(flat) or (_LABELLED.match(flat) and "." in flat[: flat.index(":")])
    if not ends or not _OPENING.match(flat) or not _closed(flat):
        return False
    letters = sum(character.isalpha() for character in flat)
    return letters >= 0.65 * len(flat) and (flat.count(" ") + 1 >= _FEWEST_WORDS or not flat.isascii())


def _prose(passage: str) -> Iterator[_Line | None]:
    """Yield each line of prose, and `None` for each line that ends a block."""
    lines = list(_lines(passage))
    fenced, code = False, -1
    for index, (start, end) in enumerate(lines):
        raw = passage[start:end]
        if _FENCE.match(raw):
            fenced = not fenced
        line = None if fenced else _line(raw, start)
        underlined = index + 1 < len(lines) and _UNDERLINE.match(passage[slice(*lines[index + 1])])
        if line and code >= 0:
            code = code if line.indent > code else -1
        yield None if underlined or code >= 0 else line
        if raw.rstrip().endswith("::") and line and code < 0:
            code = line.indent


def _line(raw: str, start: int) -> _Line | None:
    """Return the prose of one line without gutter and bullet; `None` if it is none. `start` is its position in the
    passage.
    """
    gutter = _GUTTER.match(raw)
    at = gutter.end() if gutter else 0
    if not raw[at:].strip() or (_NOT_PROSE.match(raw, at) and not _BULLET.match(raw, at)):
        return None
    bullet = _BULLET.match(raw, at)
    at = bullet.end() if bullet else at + _end_of_indent(raw[at:])
    return _Line(start + at, start + len(raw.rstrip()), at, bool(bullet or gutter))


def _end_of_indent(text: str) -> int:
    """Return the number of leading white-space characters."""
    match = _INDENT.match(text)
    return match.end() if match else 0


def _lines(text: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each line."""
    start = 0
    for line in text.split("\n"):
        yield start, start + len(line)
        start += len(line) + 1


def split_sentences(block: str) -> Iterator[tuple[int, int]]:
    """Yield start and end of each sentence of a paragraph, in order; the end is exclusive and past its marks."""
    start = 0
    for match in _END.finditer(block):
        if _ABBREVIATION.search(block[start : match.end()]) and match.end() < len(block):
            continue
        yield start, match.end()
        start = match.end() + _end_of_indent(block[match.end() :])
    if start < len(block):
        yield start, len(block)


def _closed(text: str) -> bool:
    """Return True if brackets and quotation marks are balanced."""
    balanced = all(text.count(pair[0]) == text.count(pair[1]) for pair in _PAIRS)
    return balanced and text.count('"') % 2 == 0 and text.count("`") % 2 == 0
