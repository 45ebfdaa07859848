"""Checks that the log is still the folded one: in each session of the connection, and every 30 s.

A server that was stopped may come back with another log, and nothing reports it: the stream keeps its name, and a
reader beyond its end waits without an error.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Final

from services.coordinator.engine.divergence import Checkpoint, Divergence, divergence
from shared.errors import Diverged, Refused, Unavailable
from shared.runtime.log import End, Log

logger = logging.getLogger(__name__)

_EVERY_S: Final = 30.0
_CONFIRM_S: Final = 1.0
"""So long a new leader of the stream may answer from before the messages that it is still taking over."""


async def find_divergence(log: Log, folded: Checkpoint) -> tuple[End, Divergence | None]:
    """End of the log, and how it differs from the folded one or `None`. Raises `Unavailable` or `Refused`."""
    end = await log.end()
    message = await log.at(folded.seq, leader=True) if 0 < folded.seq <= end.last else None
    return end, divergence(folded, end, message)


async def confirm_divergence(log: Log, folded: Checkpoint) -> tuple[End, Divergence | None]:
    """The same; a difference is confirmed after 1 s, in which a new leader of the stream catches up."""
    end, found = await find_divergence(log, folded)
    if found:
        await asyncio.sleep(_CONFIRM_S)
        end, found = await find_divergence(log, folded)
    return end, found


class LogCheck:
    """Check to be called before each new reader; knows the session of the connection in which it passed last.

    `folded` returns the checkpoint; `on_end` is called with each end of the log that passed.
    """

    def __init__(self, log: Log, folded: Callable[[], Checkpoint], heard: Callable[[End], None]) -> None:
        self._log = log
        self._folded = folded
        self._on_end = heard
        self._passed: int | None = None
        self._due = asyncio.Event()
        self.reason: str | None = None
        """How the log differed from the one that was folded when it last did; `None` where it never did."""

    async def __call__(self) -> None:
        """Check once. Raises `Diverged` if the log is another one, `Unavailable` or `Refused` if that is not known."""
        session = self._log.session
        end, found = await find_divergence(self._log, self._folded())
        if found:
            self._passed = None
            self._due.set()
            raise Diverged(self._set_reason(found))
        self._passed = session
        self._on_end(end)

    async def session(self) -> int:
        """Session of the connection in which the log passed; checks if this session has not.

        What is written in this session only is written to the folded log. Raises `Unavailable`, also as `Diverged`.
        """
        if self._passed != self._log.session:
            try:
                await self()
            except Refused as error:
                raise Unavailable(f"It is not known whether the log is the one that was read: {error}") from error
        if self._passed is None:
            raise Diverged(self.reason or "The log in NATS is not the one that was read.")
        return self._passed

    def suspect(self) -> None:
        """Have `watch` check at once."""
        self._due.set()

    def restored(self, found: Divergence | None) -> None:
        """Note that the fold continues with the log as it is; `found` is how it differed before."""
        self._due.clear()
        if found:
            self._set_reason(found)

    def _set_reason(self, found: Divergence) -> str:
        """Set and return `reason` as a sentence."""
        self.reason = f"The log in NATS is not the one that was read: {found.reason}."
        return self.reason

    async def watch(self) -> None:
        """Check every 30 s, and when suspected, until it raises `Diverged`. Failed checks are logged."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_S):
                    await self._due.wait()
            self._due.clear()
            try:
                await self()
            except Diverged:
                raise
            except (Unavailable, Refused) as error:
                logger.warning("The log could not be checked: %s", error, extra={"event": "log.unchecked"})
