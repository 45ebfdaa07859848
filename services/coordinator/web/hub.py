"""Live updates of open pages, from the coordinator's one read of the log."""

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
    """One open page: which run it shows (None: all), and what it has not been sent yet."""

    def __init__(self, run: Run | None) -> None:
        self.run = run
        self.changed = False
        self.writing: str | None = None
        self.news = asyncio.Event()


class Hub:
    """Collects changes and sends them to open pages every 0.3 s at most. Does nothing while no page is open."""

    def __init__(self, fold: Fold, log: Log) -> None:
        self._fold = fold
        self._log = log
        self._changed: set[Run] = set()
        self._pages: set[_OpenPage] = set()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self._has_changes = asyncio.Event()

    async def events(self, seen: int, run: Run | None = None) -> AsyncGenerator[bytes]:
        """Server-sent events for a page that shows the log up to the sequence `seen`, of one run or of all; without an
        end.

        `changed` with the current sequence, at once if `seen` is behind; for one run `writing` with the text of its
        report so far. Sends a comment after 15 s without an event.
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
        """Sequence of the newest folded fact of a run, 0 if it is not known; of all runs for None."""
        if run is None:
            return self._fold.seq
        known = self._fold.peek(run)
        return known.seq if known else 0

    def _changed_event(self) -> bytes:
        return _event("changed", {"seq": self._fold.seq})

    @contextmanager
    def _open(self, run: Run | None) -> Generator[_OpenPage]:
        """Register a page while it is open. The first one starts the hub's tasks, closing the last one stops them."""
        page = _OpenPage(run)
        self._pages.add(page)
        if not self._tasks:
            self._fold.listeners.add(self._mark_changed)
            self._tasks = (asyncio.create_task(self._notify()), asyncio.create_task(self._forward_writing()))
        try:
            yield page
        finally:
            self._pages.discard(page)
            if not self._pages:
                self._stop()

    def _stop(self) -> None:
        """Cancel the tasks and forget changes that were not sent."""
        self._fold.listeners.discard(self._mark_changed)
        for task in self._tasks:
            task.cancel()
        self._tasks = ()
        self._changed = set()

    def _mark_changed(self, run: Run, _: Message) -> None:
        """Note that a run has changed. Called by the fold for each fact."""
        self._changed.add(run)
        self._has_changes.set()

    async def _notify(self) -> None:
        """Mark the pages of changed runs, at most every 0.3 s, until cancelled."""
        while True:
            await self._has_changes.wait()
            await asyncio.sleep(GATHER_S)
            self._has_changes.clear()
            changed, self._changed = self._changed, set()
            for page in self._pages:
                if page.run is None or page.run in changed:
                    page.changed = True
                    page.news.set()

    async def _forward_writing(self) -> None:
        """Pass text that is being written to the pages of its run, until cancelled. Any client of NATS may have sent
        it, so invisible characters are named, and what cannot be read is dropped.
        """
        async with aclosing(self._log.hints(LIVE_WRITING)) as hints:
            async for hint in hints:
                run, progress = hint.subject.split(".")[1], live_text.parse_live_text(hint)
                for page in self._pages:
                    if progress and page.run == run:
                        page.writing = name_invisible(progress.text)
                        page.news.set()


def _event(name: str, data: object) -> bytes:
    """A server-sent event with `data` as JSON."""
    return format_sse_event(event=name, data_str=msgspec.json.encode(data).decode())
