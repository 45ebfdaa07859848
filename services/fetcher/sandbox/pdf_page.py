"""Text, title and date of a PDF.

Letters that are white, transparent or too small to see are removed and reported. So is invisible text beside visible
text; if all text of a page is invisible, it was recognized in a scanned picture, and stays.
"""

import re
from collections.abc import Iterator
from ctypes import byref, c_uint
from typing import Any, Final

import pypdfium2  # pyright: ignore[reportMissingTypeStubs]
import pypdfium2.raw  # pyright: ignore[reportMissingTypeStubs]
from msgspec import Struct

from services.fetcher.documents.hidden import describe_hidden
from services.fetcher.documents.prose import unwrap
from services.fetcher.sandbox.protocol import MAX_TEXT, Reading, truncate

pdfium: Any = pypdfium2.raw
"""Bindings generated from C headers, which have no types."""
_MAX_PAGES: Final = 300
_NEARLY_WHITE: Final = 235
_NEARLY_CLEAR: Final = 16
_SMALLEST_PT: Final = 1.5
_HYPHEN: Final = re.compile("[\x02\ufffe]\r?\n?")
_DATE: Final = re.compile(r"D:(\d{4})(\d\d)?(\d\d)?")


class _Letter(Struct):
    """A character of a page: code point, visibility (`shows`), and `laid_over` for invisible text over a picture."""

    sign: int
    shows: bool
    laid_over: bool


def read_pdf(data: bytes) -> Reading:
    """Read the document. The result's fault is `encrypted`, `damaged` or `empty` if it has no text to read."""
    try:
        document: Any = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if getattr(error, "err_code", None) == pdfium.FPDF_ERR_PASSWORD:
            return Reading(fault=("encrypted", "It is a PDF with a password."))
        return Reading(fault=("damaged", "It is a PDF that cannot be opened."))
    try:
        return _read(document)
    finally:
        document.close()


def _read(document: Any) -> Reading:
    """Read the pages in order until `MAX_TEXT` or `_MAX_PAGES` is reached."""
    pages: list[str] = []
    hidden: list[str] = []
    room = MAX_TEXT
    count = min(len(document), _MAX_PAGES)
    for number in range(count):
        if room <= 0:
            break
        shown, unseen = _page(document[number])
        pages.append(unwrap(shown))
        hidden += unseen
        room -= len(shown)
    text, too_long = truncate("\n\n".join(page for page in pages if page.strip()))
    if not text.strip():
        return Reading(fault=("empty", "It is a PDF without text; scanned pictures are not read."))
    if len(document) > len(pages):
        too_long = (f"everything after page {len(pages)} of {len(document)}",)
    details: Any = document.get_metadata_dict()
    title = " ".join(str(details.get("Title", "")).split())
    return Reading(text, title or _first_line(text), _published(details), "", (*describe_hidden(hidden), *too_long))


def _page(page: Any) -> tuple[str, list[str]]:
    """Return the visible text of a page and its hidden passages; close the page."""
    words: Any = page.get_textpage()
    try:
        letters = list(_letters(words))
    finally:
        words.close()
        page.close()
    scanned = all(letter.laid_over for letter in letters if not chr(letter.sign).isspace())
    shown: list[int] = []
    unseen: list[list[int]] = []
    was_shown = True
    for letter in letters:
        shows = letter.shows and (scanned or not letter.laid_over)
        if not shows and was_shown:
            unseen.append([])
        (shown if shows else unseen[-1]).append(letter.sign)
        was_shown = shows
    passages = [" ".join(_text(run).split()) for run in unseen]
    return _HYPHEN.sub("", _text(shown)).replace("\r\n", "\n"), [
        each for each in passages if any(map(str.isalnum, each))
    ]


def _letters(words: Any) -> Iterator[_Letter]:
    """Yield each character of a page. A blank is visible if the character before it is."""
    red, green, blue, alpha = c_uint(), c_uint(), c_uint(), c_uint()
    box = pdfium.FS_RECTF()
    last = _Letter(0, True, False)
    for at in range(words.count_chars()):
        sign: int = pdfium.FPDFText_GetUnicode(words, at)
        if sign <= 32 or pdfium.FPDFText_IsGenerated(words, at) == 1:
            yield _Letter(sign, last.shows, last.laid_over)
            continue
        shows = True
        if pdfium.FPDFText_GetFillColor(words, at, byref(red), byref(green), byref(blue), byref(alpha)):
            is_white = min(red.value, green.value, blue.value) >= _NEARLY_WHITE
            shows = not is_white and alpha.value >= _NEARLY_CLEAR
        if pdfium.FPDFText_GetLooseCharBox(words, at, byref(box)):
            shows = shows and abs(box.top - box.bottom) >= _SMALLEST_PT
        last = _Letter(sign, shows, _is_laid_over(words, at))
        yield last


def _is_laid_over(words: Any, at: int) -> bool:
    """Return True for text that is drawn invisibly."""
    thing = pdfium.FPDFText_GetTextObject(words, at)
    return bool(thing) and pdfium.FPDFTextObj_GetTextRenderMode(thing) == pdfium.FPDF_TEXTRENDERMODE_INVISIBLE


def _text(signs: list[int]) -> str:
    """Return the text of code points, some of which may be surrogate halves."""
    return "".join(map(chr, signs)).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _first_line(text: str) -> str:
    """Return the first line, at most 200 characters."""
    return text.partition("\n")[0][:200]


def _published(details: Any) -> str | None:
    """Return the date of creation in ISO 8601, as far as it is given; `None` if it is absent."""
    match = _DATE.match(str(details.get("CreationDate", "")))
    return "-".join(part for part in match.groups() if part) if match else None
