"""Response headers from outside, parsed without raising. Pure."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

LONGEST_WAIT_S: Final = 366 * 24 * 3_600.0
"""A response may ask for more; this is the most that is passed on."""


def retry_after_s(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Return the seconds that a response asks to wait, 0 to `LONGEST_WAIT_S`, or `None` if it names no readable time.

    `headers` has lower-case names or ignores case. `Retry-After-Ms` takes precedence over `Retry-After`, which has
    seconds or a date. A date counts from the response's own `Date`, else from `now`; without both it is ignored.
    """
    text = headers.get("retry-after", "")
    milliseconds = _number(headers.get("retry-after-ms", ""))
    waits = (None if milliseconds is None else milliseconds / 1_000, _number(text), _seconds_until(text, headers, now))
    named = [wait for wait in waits if wait is not None]
    return min(next((wait for wait in named if wait > 0), 0.0), LONGEST_WAIT_S) if named else None


def parse_date(text: str) -> datetime | None:
    """Return the date of a header, with a zone (UTC if it names none), or `None` if it is no date."""
    try:
        date = parsedate_to_datetime(text)
    except Exception:  # the parser raises whatever its arithmetic does: OverflowError for a year of eleven digits
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _seconds_until(then: str, headers: Mapping[str, str], now: datetime | None) -> float | None:
    """Return the seconds from the response's `Date` (else `now`) to the date `then`, or `None` if one of them is
    missing.
    """
    end, begin = parse_date(then), parse_date(headers.get("date", "")) or now
    return (end - begin).total_seconds() if end and begin else None


def _number(text: str) -> float | None:
    """Return `text` as a finite number, or `None`."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
