"""Numbers of a sentence, compared by value. Pure.

Equal are 1,200 and 1200, 2 hours and 120 minutes, 1.2 million and 1,200,000, 2026-03-05 and 5 March 2026.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Final

from shared.text.words import word_list

_TWO_AND_MORE: Final = word_list(
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
)
_SPELLED: Final = {word: str(number) for number, word in enumerate(_TWO_AND_MORE, 2)} | {
    "twenty": "20", "thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "hundred": "100", "thousand": "1000",
}  # fmt: skip
_AS_MUCH: Final = {
    "zero": "0", "one": "1", "once": "1", "single": "1", "first": "1", "both": "2", "twice": "2", "double": "2",
    "pair": "2", "second": "2", "third": "3", "triple": "3", "dozen": "12",
}  # fmt: skip
"""Words that confirm a number but do not state one by themselves."""
MONTHS: Final = word_list("january february march april may june july august september october november december")
_MONTH_NUMBERS: Final = {
    form: str(number) for number, name in enumerate(MONTHS, 1) for form in (name, name[:3], name[:4])
}
_SCALES: Final = {"thousand": 3, "million": 6, "mn": 6, "billion": 9, "bn": 9, "trillion": 12}
_UNITS: Final[dict[str, tuple[str, str]]] = {
    "ns": ("s", "1e-9"), "nanosecond": ("s", "1e-9"), "µs": ("s", "1e-6"), "us": ("s", "1e-6"),
    "microsecond": ("s", "1e-6"), "ms": ("s", "1e-3"), "millisecond": ("s", "1e-3"), "s": ("s", "1"), "sec": ("s", "1"),
    "second": ("s", "1"), "min": ("s", "60"), "minute": ("s", "60"), "h": ("s", "3600"), "hr": ("s", "3600"),
    "hour": ("s", "3600"), "day": ("s", "86400"), "week": ("s", "604800"), "month": ("months", "1"),
    "year": ("months", "12"), "bit": ("bits", "1"), "byte": ("bytes", "1"), "kb": ("bytes", "1e3"),
    "mb": ("bytes", "1e6"), "gb": ("bytes", "1e9"), "tb": ("bytes", "1e12"), "kib": ("bytes", "1024"),
    "mib": ("bytes", "1048576"), "gib": ("bytes", "1073741824"), "%": ("%", "1"), "percent": ("%", "1"),
    "per cent": ("%", "1"), "prozent": ("%", "1"), "$": ("$", "1"), "usd": ("$", "1"), "dollar": ("$", "1"),
    "€": ("€", "1"), "eur": ("€", "1"), "euro": ("€", "1"), "£": ("£", "1"), "gbp": ("£", "1"), "pound": ("£", "1"),
    "mm": ("m", "1e-3"), "cm": ("m", "1e-2"), "m": ("m", "1"), "metre": ("m", "1"), "meter": ("m", "1"),
    "km": ("m", "1e3"), "kilometre": ("m", "1e3"), "kilometer": ("m", "1e3"), "mg": ("g", "1e-3"), "g": ("g", "1"),
    "kg": ("g", "1e3"),
}  # fmt: skip
_NUMBER: Final = re.compile(
    r"""
    (?<![\w.]) (?P<sign>(?:(?<=^)|(?<=[\s(]))[-−](?=[\d$€£]))? (?P<currency>[$€£])?
    (?P<digits> \d{1,3}(?:\.\d{3}){2,}(?!\.?\d)
      | \d{1,3}(?:[,'’\u00a0\u2009\u202f ]\d{3})+(?:\.\d+)?(?!\d)
      | \d+(?:\.\d+)+ | \d+,\d{1,2}(?![\d,]) | \d+ )
    (?:st|nd|rd|th)? (?![A-Za-z]*[_\d])
    (?: [\s\u00a0-]? (?P<scale>thousand|million|mn|billion|bn|trillion)\b )?
    (?: [\s\u00a0\u202f-]? (?P<unit>%|[€$£]|per\ cent\b|[A-Za-zµ]+\b) )?
    """,
    re.VERBOSE,
)
_GROUPED: Final = re.compile(r"\d{1,3}(?:[,'’\u00a0\u2009\u202f ]\d{3})+(?:\.\d+)?|\d{1,3}(?:\.\d{3}){2,}")
_DECADE: Final = re.compile(r"\d{4}s")
_ISO: Final = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)(?=T|\b)")
_MONTH: Final = re.compile(
    r"(?:(?<=\d )|(?<=\d\. )|(?<=st )|(?<=nd )|(?<=rd )|(?<=th ))(?P<behind>[A-Z][a-z]{2,8})\b"
    r"|\b(?P<before>[A-Z][a-z]{2,8})\.?(?=\s+\d)"
)
_WORD: Final = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True)
class Number:
    """A number as written (`said`), its bare `value`, and its `measure` (value and base unit) if it has a unit."""

    said: str
    value: str
    measure: tuple[str, str] | None = None
    spelled: bool = False


@lru_cache(maxsize=4_096)
def numbers(text: str) -> tuple[Number, ...]:
    """Return the numbers of `text`, each once; dates as their parts. Digits within names, "one" and "first" do not
    count.
    """
    rest = _ISO.sub(" ", text)
    return tuple(dict.fromkeys((*_dates(text), *_months(rest), *map(_number, _NUMBER.finditer(rest)), *_spelled(rest))))


def contains_number(text: str, number: Number) -> bool:
    """Return True if `text` has this number. A unit must agree only if both have one: in "3 to 5
    ms", 3 is in ms too.
    """
    words = {_AS_MUCH.get(match.group().casefold()) for match in _WORD.finditer(text)}
    return number.value in words or any(_same(number, other) for other in numbers(text))


def _same(one: Number, other: Number) -> bool:
    """Return True if measures are equal, or values if one has no measure. A version equals its longer forms."""
    if one.measure and other.measure:
        return one.measure == other.measure
    return one.value == other.value or (one.value.count(".") == 1 and other.value.startswith(f"{one.value}."))


def _dates(text: str) -> Iterator[Number]:
    """Yield year, month and day of each ISO date."""
    for match in _ISO.finditer(text):
        year, month, day = (part.lstrip("0") or "0" for part in match.groups())
        yield from (Number(year, year), Number(match.group(), month, (month, "month of the year")), Number(day, day))


def _months(text: str) -> Iterator[Number]:
    """Yield the month of each date in words."""
    for match in _MONTH.finditer(text):
        name = match.group("behind") or match.group("before")
        if number := _MONTH_NUMBERS.get(name.casefold()):
            yield Number(name, number, (number, "month of the year"))


def _spelled(text: str) -> Iterator[Number]:
    """Yield the numbers that are written as words."""
    for match in _WORD.finditer(text):
        if value := _SPELLED.get(match.group().casefold()):
            yield Number(match.group(), value, spelled=True)


def _number(match: re.Match[str]) -> Number:
    """Return the number that was matched, with scale and unit applied."""
    value = ("-" if match.group("sign") else "") + _value(match.group("digits"))
    scale, unit = match.group("scale"), match.group("currency") or _singular(match.group("unit") or "")
    if scale:
        value = _plain(Decimal(value) * 10 ** _SCALES[scale])
    if unit not in _UNITS or value.count(".") > 1 or _DECADE.fullmatch(match.group()):
        return Number(match.group("digits") + (f" {scale}" if scale else ""), value)
    base, factor = _UNITS[unit]
    return Number(match.group().strip(), value, (_plain(Decimal(value) * Decimal(factor)), base))


def _value(digits: str) -> str:
    """Return digits without grouping and leading zeros, with a decimal point."""
    if _GROUPED.fullmatch(digits):
        return re.sub(r"[^\d.]" if digits.count(".") < 2 else r"\D", "", digits)
    value = digits.replace(",", ".")
    return value.lstrip("0") or "0" if "." not in value else value


def _singular(unit: str) -> str:
    """Return the unit as `_UNITS` has it, if it does; else in lower case without a plural `s`."""
    lower = unit if unit in _UNITS else unit.casefold()
    return lower if lower in _UNITS else lower.removesuffix("s")


def _plain(value: Decimal) -> str:
    """Return a decimal without exponent and trailing zeros."""
    return f"{value.normalize():f}"
