"""What is measured, and what comes of it."""

from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

Measured = dict[str, float]
"""Numbers by name, of one measurement."""


class Case(NamedTuple):
    """So many runs, so many at once, on a server that syncs to disk in this interval."""

    name: str
    sync: str
    concurrency: int
    runs: int


CASES: Final = (
    Case("c1-2m", "2m", 1, 400),
    Case("c1-always", "always", 1, 300),
    Case("c256-2m", "2m", 256, 2_500),
    Case("c256-always", "always", 256, 2_500),
)


def medians(measurements: Sequence[Measured]) -> Measured:
    """For each number the middle of what was measured."""
    return rounded({name: median(one[name] for one in measurements) for name in measurements[0]})


def rounded(measured: Measured) -> Measured:
    """The numbers, as far as they mean anything."""
    return {name: round(number, 2) for name, number in measured.items()}
