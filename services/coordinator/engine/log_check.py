"""Checks that the log is still the one that is folded here: in each session of the connection, and now and then.

A server that was stopped may come back with another log, and nothing else says so: the stream keeps its name, and a
reader that begins beyond the end waits in silence.
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
    """Where the log ends, and how it differs from the one that is folded. Raises `Unavailable` or `Refused`."""
    end = await log.end()
    message = await log.at(folded.seq, leader=True) if 0 < folded.seq <= end.last else None
    return end, divergence(folded, end, message)


async def confirm_divergence(log: Log, folded: Checkpoint) -> tuple[End, Divergence | None]:
    """The same, where it differs looked at twice."""
    end, found = await find_divergence(log, folded)
    if found:
        await asyncio.sleep(_CONFIRM_S)
        end, found = await find_divergence(log, folded)
    return end, found


class LogCheck:
    """The check, to be called before each new reader, and the session of the connection in which it passed last."""

    def __init__(self, log: Log, folded: Callable[[], Checkpoint], heard: Callable[[End], None]) -> None:
        self._log = log
        self._folded = folded
        self._on_end = heard
        self._passed: int | None = None
        self._due = asyncio.Event()
        self.reason: str | None = None
        """How the log differed from the one that was folded when it last did; `None` where it never did."""

    async def __call__(self) -> None:
        """Raise `Diverged` where the log is another one, `Unavailable` or `Refused` where that is not known."""
        session = self._log.session
        end, found = await find_divergence(self._log, self._folded())
        if found:
            self._passed = None
            self._due.set()
            raise Diverged(self._set_reason(found))
        self._passed = session
        self._on_end(end)

    async def session(self) -> int:
        """The session of the connection, if the log passed in it. Raises `Unavailable`.

        What is written in this session, and in no other, is written to the log that is folded.
        """
        if self._passed != self._log.session:
            try:
                await self()
            except Refused as error:
                raise Unavailable(f"Whether the log is the one that was read is not known: {error}") from error
        if self._passed is None:
            raise Diverged(self.reason or "The log in NATS is not the one that was read.")
        return self._passed

    def suspect(self) -> None:
        """Look at once: there is reason to."""
        self._due.set()

    def restored(self, found: Divergence | None) -> None:
        """Take note that the fold goes on from the log as it is, and of how that differs from the one before."""
        self._due.clear()
        if found:
            self._set_reason(found)

    def _set_reason(self, found: Divergence) -> str:
        self.reason = f"The log in NATS is not the one that was read: {found.reason}."
        return self.reason

    async def watch(self) -> None:
        """Look now and then, until it is another log. Raises `Diverged`."""
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
