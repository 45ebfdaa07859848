"""Times, amounts and counts in words. Pure."""

from datetime import datetime, timedelta

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400


def span(time: timedelta) -> str:
    """A duration in its two largest units at most: `2 d 4 h`, `3 min`, `1.2 s`, `40 ms`; a negative one as 0."""
    seconds = max(0.0, time.total_seconds())
    if seconds < 1:
        return f"{seconds * 1_000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    for unit, size, smaller, its_size in (("d", _DAY, "h", _HOUR), ("h", _HOUR, "min", _MINUTE)):
        if seconds >= size:
            rest = int(seconds % size // its_size)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{int(seconds // _MINUTE)} min"


def moment(time: datetime) -> str:
    """A moment in UTC, to the minute. A script shows it in the reader's time zone."""
    return f"{time:%d %b %Y, %H:%M} UTC"


def money(amount: float | None) -> str:
    """An amount in US dollars; `unpriced` for None."""
    if amount is None:
        return "unpriced"
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.4f}"


def count(number: int, one: str, many: str = "") -> str:
    """A number with its noun: `1 source`, `3 sources`. `many` is the plural if it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def host(url: str) -> str:
    """Host of a URL without `www.`; the text itself if it is no URL."""
    _, scheme, rest = url.partition("://")
    return rest.split("/", 1)[0].removeprefix("www.") if scheme else url
