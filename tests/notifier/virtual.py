"""A loop whose clock jumps to whatever comes next: days pass in milliseconds, in order."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable
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


class _Loop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Selector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.passed


def now() -> datetime:
    """The time by the loop that runs."""
    return START + timedelta(seconds=asyncio.get_running_loop().time())


def run(story: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine function to its end."""

    async def whole() -> None:
        await story()

    with asyncio.Runner(loop_factory=_Loop) as runner:
        runner.run(whole())
