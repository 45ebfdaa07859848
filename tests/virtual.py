"""A loop whose clock jumps to whatever comes next: days pass in milliseconds, in order."""

import asyncio
import selectors
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, tzinfo=UTC)


class _Selector(selectors.DefaultSelector):
    """Never waits: says how long it would have."""

    passed = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if found := super().select(0):
            return found
        assert timeout is not None, "Everybody waits for somebody else."
        self.passed += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits for the time to pass."""

    def __init__(self) -> None:
        self._jumping = _Selector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.passed


def now() -> datetime:
    """The time by the loop that runs."""
    return START + timedelta(seconds=asyncio.get_running_loop().time())
