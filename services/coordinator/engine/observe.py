"""Callbacks on facts that this coordinator has recorded."""

from collections.abc import Callable

from shared.domain.run import Recorded, Run

Observe = Callable[[Run, Recorded], None]
"""Called with each fact that this process wrote, and its run including the fact. Must not raise or block."""


def unobserved(_run: Run, _it: Recorded) -> None:
    """Ignore the fact."""
