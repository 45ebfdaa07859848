"""Waiting for what will come, and no longer than it takes."""

import asyncio
from collections.abc import Callable

from tests.harness.waiting import PATIENCE_S


async def wait_until(holds: Callable[[], object], *, within_s: float = PATIENCE_S, every_s: float = 0.002) -> None:
    """Return as soon as `holds()` is true; fail when time is up."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    while not holds():
        assert loop.time() < deadline, f"This did not come within {within_s:g} s."
        await asyncio.sleep(every_s)
