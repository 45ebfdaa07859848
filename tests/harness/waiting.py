"""Waiting for something to become true."""

import contextlib
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

PATIENCE_S: Final = 60.0
"""How long a test waits for what must come: many times what it takes on a machine that does much else."""
_LOOK_EVERY_S = 0.01


def wait_until(condition: Callable[[], T | None], timeout: float = PATIENCE_S) -> T:
    """What `condition` returns, as soon as that is truthy. Raises `TimeoutError` with what it returned last."""
    until = time.monotonic() + timeout
    while not (found := condition()):
        if time.monotonic() > until:
            name = getattr(condition, "__qualname__", repr(condition))
            raise TimeoutError(f"Not within {timeout:g} s: {name}; last seen: {found!r}")
        time.sleep(_LOOK_EVERY_S)
    return found


def wait_until_equal(look: Callable[[], T], expected: T, timeout: float = PATIENCE_S) -> None:
    """Return as soon as `look` gives what is expected. Raises `AssertionError` where it never does."""
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: look() == expected, timeout)
    found = look()
    assert found == expected, f"{found!r} is not {expected!r}"
