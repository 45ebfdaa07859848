"""Waiting for NATS at the start."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from shared.errors import Unavailable

logger = logging.getLogger(__name__)

T = TypeVar("T")
_AGAIN_S: Final = 0.5


async def patiently(call: Callable[[], Awaitable[T]]) -> T:
    """What `call` returns, as soon as NATS lets it. Says once what it waits for."""
    said = False
    while True:
        try:
            return await call()
        except Unavailable as error:
            if not said:
                logger.warning("Waiting for JetStream: %s", error, extra={"event": "jetstream.awaited"})
            said = True
            await asyncio.sleep(_AGAIN_S)
