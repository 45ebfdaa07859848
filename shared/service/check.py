"""Results of the checks that `dossier doctor` prints."""

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

State = Literal["ok", "warning", "fault"]

_LISTED: Final = 4


class CheckResult(Struct, frozen=True):
    """Result of one check: its name, a state, the finding as a sentence, and the remedy unless the state is `ok`.

    A `warning` works and needs attention. A `fault` does not work, or breaks a guarantee.
    """

    check: str
    state: State
    found: str
    do: str = ""


def graded(check: str, state: State, found: str, do: str) -> CheckResult:
    """A result with the remedy `do`, which is left out if the state is `ok`."""
    return CheckResult(check, state, found, "" if state == "ok" else do)


def state_above(value: float, *, warning: float, fault: float) -> State:
    """The state of a value that is bad from `warning` up, and worse from `fault` up."""
    return "fault" if value >= fault else "warning" if value >= warning else "ok"


def listed(names: Sequence[str]) -> str:
    """The first four names, separated by commas, and the number of further ones."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
