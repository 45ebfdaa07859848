"""Windows of a text: whole paragraphs, small enough to quote and large enough to understand. Pure."""

import re
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from shared.contracts.evidence import Passage

MAX_CHARS: Final = 1_200
"""Largest length of a window, in characters."""
_TARGET_CHARS: Final = 800
"""Length from which a window ends with its paragraph."""
_MIN_CHARS: Final = 240
_LETTERS: Final = 0.85
"""Share of letters and digits among the characters of sentences."""
_DEFINITION: Final = re.compile(r"[A-Za-z_]\w*(?:(?:\.\w+)+(?:\(.{0,100}?\))?|\(.{0,100}?\)).{0,40}?(?::\s|$)")
_BREAKS: Final = (re.compile(r"\n"), re.compile(r"(?<=[.!?])\s"), re.compile(r"\s"))


class Window(Struct, frozen=True):
    """The characters from `start` to `end` (exclusive) of a text."""

    start: int
    end: int

    def passage(self, text: str) -> Passage:
        """Return this window of `text`, verbatim, with its position."""
        return Passage(text[self.start : self.end], self.start)


def split_windows(text: str) -> Iterator[Window]:
    """Yield `text` in windows of at most `MAX_CHARS`, in order, without overlap; only white space is left out.

    A window ends before a heading or a definition where possible, and a short remainder joins the window before it.
    """
    last: Window | None = None
    for window in _windows(text):
        if last and window.end - last.start <= MAX_CHARS and window.end - window.start < _MIN_CHARS:
            last = Window(last.start, window.end)
        else:
            if last:
                yield last
            last = window
    if last:
        yield last


def quality(words: str) -> float:
    """Return the quality of a window as a quote, 0 to 1: sentences are best, drawings and single lines worst."""
    signs = sum(1 for character in words if not character.isspace())
    letters = sum(1 for character in words if character.isalnum())
    return min(1, letters / (_LETTERS * signs)) ** 2 * min(1, len(words) / _MIN_CHARS) ** 0.5


def _windows(text: str) -> Iterator[Window]:
    """Yield windows as `windows` does, before short remainders are joined."""
    held: list[Window] = []
    for piece in _split_pieces(text):
        if held and piece.end - held[0].start > _TARGET_CHARS:
            kept = _trailing_section(text, held)
            if len(kept) < len(held):
                yield _span(held[: len(held) - len(kept)])
                held = kept
            if held and piece.end - held[0].start > MAX_CHARS:
                yield _span(held)
                held = []
        held.append(piece)
    if held:
        yield _span(held)


def _trailing_section(text: str, held: list[Window]) -> list[Window]:
    """Return the trailing pieces of `held` from its last heading or definition on; empty if that is
    in its first third.
    """
    late = held[0].start + (held[-1].end - held[0].start) // 3
    starts = [
        at for at, piece in enumerate(held) if piece.start >= late and _opens_section(text[piece.start : piece.end])
    ]
    if not starts:
        return []
    first = starts[-1]
    while first - 1 in starts:
        first -= 1
    return held[first:]


def _opens_section(words: str) -> bool:
    """Return True if a paragraph looks like a heading, or like `name(arguments): description`."""
    return bool(_DEFINITION.match(words)) or (len(words) <= 120 and "\n" not in words and words[-1] not in ".!?;,)\"'")


def _split_pieces(text: str) -> Iterator[Window]:
    """Yield the paragraphs; one that is longer than a window is split at lines, sentences or words."""
    for paragraph in _paragraphs(text):
        start, end = paragraph.start, paragraph.end
        while end - start > MAX_CHARS:
            cut = _end_of_piece(text, start)
            yield Window(start, cut)
            start = _next_word(text, cut)
        yield Window(start, end)


def _paragraphs(text: str) -> Iterator[Window]:
    """Yield the stretches between empty lines, without surrounding white space."""
    at, start, end = 0, -1, 0
    for line in text.splitlines(keepends=True):
        words = line.strip()
        if words:
            start = at + line.index(words[0]) if start < 0 else start
            end = at + len(line.rstrip())
        elif start >= 0:
            yield Window(start, end)
            start = -1
        at += len(line)
    if start >= 0:
        yield Window(start, end)


def _next_word(text: str, at: int) -> int:
    """Return the position of the first character at or after `at` that is no white space. There must be one."""
    while text[at].isspace():
        at += 1
    return at


def _end_of_piece(text: str, start: int) -> int:
    """Return the end of a window that begins at `start`: after a line, else a sentence, else a word, else at
    `MAX_CHARS`.
    """
    room = text[start : start + MAX_CHARS]
    for pattern in _BREAKS:
        ends = [found.start() for found in pattern.finditer(room) if found.start() > _TARGET_CHARS // 2]
        if ends:
            return start + len(room[: ends[-1]].rstrip())
    return start + MAX_CHARS


def _span(held: list[Window]) -> Window:
    """Return the window from the first to the last of `held`."""
    return Window(held[0].start, held[-1].end)
