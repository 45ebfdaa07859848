"""Filters of lists, as the API takes them."""

from collections.abc import Sequence
from datetime import timedelta

from services.cli.shell.refusal import MISUSED, Refusal
from shared.contracts.requests import parse_duration_s
from shared.errors import InvalidMessage
from shared.runtime import clock

Filters = dict[str, str | list[str]]
"""Query parameters that narrow a list; an entry matches any of the values of a parameter."""


def filters(**given: str | Sequence[str] | None) -> Filters:
    """The filters that are not `None` or empty."""
    return {name: value if isinstance(value, str) else list(value) for name, value in given.items() if value}


def start_of(duration: str | None) -> str | None:
    """The moment that long ago, in ISO 8601 with `Z`; `None` for `None`. Raises `Refusal` for no duration."""
    if duration is None:
        return None
    try:
        start = clock.now() - timedelta(seconds=parse_duration_s(duration, "--since"))
    except InvalidMessage as error:
        raise Refusal(error.message, code=MISUSED) from error
    return start.isoformat().replace("+00:00", "Z")
