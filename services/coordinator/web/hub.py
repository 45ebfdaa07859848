"""What happens to runs, told to any number of open pages from the coordinator's one read of the log."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager
from typing import Final

import msgspec
from fastapi.sse import format_sse_event

from services.coordinator.engine.fold import Fold
from services.coordinator.http.feed import HEARTBEAT, HEARTBEAT_S
from shared.contracts.messages import Message
from shared.contracts.subjects import LIVE_WRITING
from shared.contracts.visible import name_invisible
from shared.runtime import live_text
from shared.runtime.log import Log

GATHER_S: Final = 0.3
BEGIN: Final = format_sse_event(retry=1_000)
"""Sent first: reconnect after a second."""

Run = str


class _OpenPage:
    """What one page is still to be told: that there is something new, and the newest of what is being written."""

    def __init__(self, run: Run | None) -> None:
        self.run = run
        self.changed = False
        self.writing: str | None = None
        self.news = asyncio.Event()


class Hub:
    """Gathers what changed and tells it a few times a second. While no page is open it does nothing at all."""

    def __init__(self, fold: Fold, log: Log) -> None:
        self._fold = fold
        self._log = log
        self._changed: set[Run] = set()
        self._pages: set[_OpenPage] = set()
        self._telling: tuple[asyncio.Task[None], ...] = ()
        self._news = asyncio.Event()

    async def events(self, seen: int, run: Run | None = None) -> AsyncGenerator[bytes]:
        """Server-sent events for a page that shows the log up to `seen`: of all runs, or of one.

        `changed`, at once where the page is behind already; and of one run `writing`, with the text so far.
        """
        with self._open(run) as page:
            yield BEGIN
            if self._newest(run) > seen:
                yield self._changed_event()
            while True:
                try:
                    async with asyncio.timeout(HEARTBEAT_S):
                        await page.news.wait()
                except TimeoutError:
                    yield HEARTBEAT
                    continue
                page.news.clear()
                if page.writing is not None:
                    yield _event("writing", {"text": page.writing})
                    page.writing = None
                if page.changed:
                    page.changed = False
                    yield self._changed_event()

    def _newest(self, run: Run | None) -> int:
        if run is None:
            return self._fold.seq
        known = self._fold.peek(run)
        return known.seq if known else 0

    def _changed_event(self) -> bytes:
        return _event("changed", {"seq": self._fold.seq})

    @contextmanager
    def _open(self, run: Run | None) -> Generator[_OpenPage]:
        page = _OpenPage(run)
        self._pages.add(page)
        if not self._telling:
            self._fold.listeners.add(self._heard)
            self._telling = (asyncio.create_task(self._tell()), asyncio.create_task(self._listen()))
        try:
            yield page
        finally:
            self._pages.discard(page)
            if not self._pages:
                self._stop()

    def _stop(self) -> None:
        self._fold.listeners.discard(self._heard)
        for telling in self._telling:
            telling.cancel()
        self._telling = ()
        self._changed = set()

    def _heard(self, run: Run, _: Message) -> None:
        self._changed.add(run)
        self._news.set()

    async def _tell(self) -> None:
        while True:
            await self._news.wait()
            await asyncio.sleep(GATHER_S)
            self._news.clear()
            changed, self._changed = self._changed, set()
            for page in self._pages:
                if page.run is None or page.run in changed:
                    page.changed = True
                    page.news.set()

    async def _listen(self) -> None:
        """Hand on what is being written of reports, to the pages of those runs. Anybody may have said it."""
        async with aclosing(self._log.hints(LIVE_WRITING)) as hints:
            async for hint in hints:
                run, said = hint.subject.split(".")[1], live_text.parse_live_text(hint)
                for page in self._pages:
                    if said and page.run == run:
                        page.writing = name_invisible(said.text)
                        page.news.set()


def _event(name: str, data: object) -> bytes:
    """A server-sent event with `data` as JSON."""
    return format_sse_event(event=name, data_str=msgspec.json.encode(data).decode())
