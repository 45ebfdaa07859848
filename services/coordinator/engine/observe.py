"""Callbacks on facts that this coordinator has recorded."""

from collections.abc import Callable

from shared.domain.run import Recorded, Run

Observe = Callable[[Run, Recorded], None]
"""Hears of a fact that is recorded, and of its run with it. Never raises, never waits."""


def unobserved(_run: Run, _it: Recorded) -> None:
    """Nobody hears."""
