"""Text of a report while it is written, published as hints. It is stored nowhere, and nothing depends on it."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Final

import msgspec
from msgspec import Struct

from shared.contracts.subjects import Step, live_writing
from shared.errors import Unavailable
from shared.runtime.log import Hint, Log

_PAUSE_S: Final = 0.2
_MOST: Final = 50_000
"""Most characters that are published."""

OnText = Callable[[str], None]
OpenLiveText = Callable[[Callable[[str], str]], AbstractAsyncContextManager[OnText | None]]
"""Opens live text: takes a function that renders the text so far, and yields the callback for it, or `None` if nothing
is published."""

_step: ContextVar[Step | None] = ContextVar("step", default=None)


class LiveText(Struct, frozen=True):
    """The text of a report so far."""

    text: str


def set_current_step(step: Step) -> None:
    """Set the step whose text is published from this asyncio task."""
    _step.set(step)


def parse_live_text(hint: Hint) -> LiveText | None:
    """Return the text in a hint on `live.<run>.writing`, or `None` if it is unreadable."""
    with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return msgspec.json.decode(hint.data, type=LiveText)
    return None


@asynccontextmanager
async def no_live_text(_: Callable[[str], str]) -> AsyncGenerator[None]:
    """Open nothing: yields `None`, so that no text is published."""
    yield None


def publish_live_text(log: Log) -> OpenLiveText:
    """Return an opener of live text on `live.<run>.writing`, published at most every `_PAUSE_S` seconds.

    The opener takes a function that renders the model's raw text, and yields a callback for that text so far.
    """

    @asynccontextmanager
    async def opened(form: Callable[[str], str]) -> AsyncGenerator[OnText]:
        voice = _Publisher(log, form)
        telling = asyncio.create_task(voice.tell())
        try:
            yield voice.say
        finally:
            telling.cancel()

    return opened


class _Publisher:
    """Publishes the newest text of the current step."""

    def __init__(self, log: Log, form: Callable[[str], str]) -> None:
        self._log = log
        self._form = form
        self._step = _step.get()
        self._said = ""
        self._news = asyncio.Event()

    def say(self, text: str) -> None:
        """Set the text so far, to be published next."""
        self._said = text
        self._news.set()

    async def tell(self) -> None:
        """Publish the rendered text whenever it changed, cut to `_MOST` characters, until cancelled.

        Returns at once if no step is set. A text that cannot be sent is dropped.
        """
        told = ""
        while self._step:
            await self._news.wait()
            self._news.clear()
            text = self._form(self._said)[:_MOST]
            if text != told:
                with contextlib.suppress(Unavailable):
                    await self._log.hint(live_writing(self._step.run), msgspec.json.encode(LiveText(text)))
                told = text
            await asyncio.sleep(_PAUSE_S)
