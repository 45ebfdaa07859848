"""One thing that was looked at."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal

from msgspec import Struct

State = Literal["ok", "warning", "fault"]


class Finding(Struct, frozen=True):
    """What was looked at, how it is, what was found, and, where it is not well, what to do."""

    check: str
    state: State
    found: str
    do: str = ""


Check = Callable[[], Awaitable[Sequence[Finding]]]

SHOWN: Final = 4
"""Names that a finding lists at most."""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, "ok", found)


def warning(check: str, found: str, do: str) -> Finding:
    """It works, and somebody should look at it."""
    return Finding(check, "warning", found, do)


def fault(check: str, found: str, do: str) -> Finding:
    """It does not work, or keeps a promise from being kept."""
    return Finding(check, "fault", found, do)


async def findings(checks: Sequence[tuple[str, Check]]) -> list[Finding]:
    """What all of these find, in order. One that breaks is a fault itself and keeps no other from being made."""
    found: list[Finding] = []
    for name, check in checks:
        try:
            found += await check()
        except Exception as error:  # whatever it is, the next check may say why
            found.append(fault(name, f"It could not be looked at: {type(error).__name__}: {error}", "See above."))
    return found


def some(names: Sequence[str]) -> str:
    """The first few of these, and how many more there are."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
