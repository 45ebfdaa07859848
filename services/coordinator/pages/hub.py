"""Which runs changed, told to any number of open pages from the coordinator's one read of the log."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Final

import msgspec

from services.coordinator.fold import Fold
from shared.runtime.log import Message

GATHER_S: Final = 0.3
_HEARTBEAT_S: Final = 15.0
ALIVE: Final = ": alive\n\n"
"""What keeps a stream from being taken for dead, and finds out that nobody reads it any more."""
BEGIN: Final = "retry: 1000\n\n"


class Hub:
    """Gathers what changed and tells it a few times a second. While no page is open it does nothing at all."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._changed: set[str] = set()
        self._pages: set[asyncio.Queue[set[str]]] = set()
        self._telling: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def events(self, seen: int, run: str | None = None) -> AsyncGenerator[str]:
        """Server-sent events for a page that shows the log up to `seen`: `changed`, with the sequence that it may see.

        Of all runs, or of one. The first comes at once where the page is behind already.
        """
        with self._open() as queue:
            yield BEGIN
            if self._newest(run) > seen:
                yield self._event("changed")
            while True:
                yield self._event("changed") if await _touched(queue, run) else ALIVE

    @property
    def pages(self) -> int:
        """How many pages listen."""
        return len(self._pages)

    def _newest(self, run: str | None) -> int:
        if run is None:
            return self._fold.seq
        known = self._fold.peek(run)
        return known.seq if known else 0

    def _event(self, name: str) -> str:
        return event(name, {"seq": self._fold.seq})

    @contextmanager
    def _open(self) -> Generator[asyncio.Queue[set[str]]]:
        queue: asyncio.Queue[set[str]] = asyncio.Queue()
        self._pages.add(queue)
        if self._telling is None:
            self._fold.listeners.add(self._heard)
            self._telling = asyncio.create_task(self._tell())
        try:
            yield queue
        finally:
            self._pages.discard(queue)
            if not self._pages and self._telling:
                self._fold.listeners.discard(self._heard)
                self._telling.cancel()
                self._telling = None
                self._changed = set()

    def _heard(self, run: str, _: Message) -> None:
        self._changed.add(run)
        self._news.set()

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(GATHER_S)
            self._news.clear()
            changed, self._changed = self._changed, set()
            for queue in self._pages:
                queue.put_nowait(changed)


async def _touched(queue: asyncio.Queue[set[str]], run: str | None) -> bool:
    """True as soon as it changed, False where nothing did for so long that a sign of life is due."""
    try:
        async with asyncio.timeout(_HEARTBEAT_S):
            changed = await queue.get()
            while run is not None and run not in changed:
                changed = await queue.get()
    except TimeoutError:
        return False
    return True


def event(name: str, data: object) -> str:
    """One server-sent event."""
    return f"event: {name}\ndata: {msgspec.json.encode(data).decode()}\n\n"
