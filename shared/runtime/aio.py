"""Coroutines that stop early, or wait until NATS answers."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from shared.errors import Unavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")
_RETRY_S: Final = 0.5


async def run_until(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Run `work` and return its result. If `stop` is set first, cancel `work`, await its end, and return `None`.

    Raises what `work` raises, unless it is raised during the cancellation.
    """
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def retry_unavailable(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat `call` every half second while it raises `Unavailable`, without limit, and return its result.

    Logs one warning at the first failure. Any other error is raised.
    """
    is_logged = False
    while True:
        try:
            return await call()
        except Unavailable as error:
            if not is_logged:
                logger.warning("Waiting for JetStream: %s", error, extra={"event": "jetstream.awaited"})
            is_logged = True
            await asyncio.sleep(_RETRY_S)
