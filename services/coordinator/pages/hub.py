"""Which runs changed, told to any number of open pages from the coordinator's one read of the log."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from typing import Final

from services.coordinator.fold import Fold
from shared.runtime.log import Message

_GATHER_S: Final = 0.3
_HEARTBEAT_S: Final = 15.0


class Hub:
    """Gathers what changed and tells it a few times a second. While no page is open it does nothing at all."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._changed: dict[str, int] = {}
        self._pages: set[asyncio.Queue[dict[str, int]]] = set()
        self._telling: asyncio.Task[None] | None = None
        self._news = asyncio.Event()

    async def changes(self, run: str | None = None) -> AsyncGenerator[dict[str, int]]:
        """What changed since the last time: runs with their newest sequence, of all or of one.

        Empty as a sign of life where nothing does for long.
        """
        with self._open() as queue:
            while True:
                try:
                    async with asyncio.timeout(_HEARTBEAT_S):
                        changed = await queue.get()
                        while run is not None and run not in changed:
                            changed = await queue.get()
                except TimeoutError:
                    yield {}
                else:
                    yield changed if run is None else {run: changed[run]}

    @contextmanager
    def _open(self) -> Generator[asyncio.Queue[dict[str, int]]]:
        queue: asyncio.Queue[dict[str, int]] = asyncio.Queue()
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
                self._changed = {}

    def _heard(self, run: str, message: Message) -> None:
        self._changed[run] = message.seq
        self._news.set()

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(_GATHER_S)
            self._news.clear()
            changed, self._changed = self._changed, {}
            for queue in self._pages:
                queue.put_nowait(changed)
