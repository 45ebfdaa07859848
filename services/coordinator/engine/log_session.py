"""The session of the NATS connection in which the folded log was checked, and what can be answered in it."""

import asyncio
import logging
from typing import Final

from services.coordinator.engine.fold import Fold
from services.coordinator.engine.log_check import LogCheck
from shared.errors import Unavailable
from shared.runtime.aio import retry_unavailable
from shared.runtime.log import End, Log

logger = logging.getLogger(__name__)

_RESTORED_S: Final = 2.0
"""How long a decision waits for the fold to begin."""


class LogSession:
    """Begins a fold with the log that NATS has, and binds writes to the session in which that log was checked."""

    def __init__(self, log: Log, fold: Fold) -> None:
        self._log = log
        self._fold = fold
        self._start: End | None = None
        self._restored = asyncio.Event()
        self.check = LogCheck(log, lambda: fold.checkpoint, fold.note_end)

    @property
    def is_caught_up(self) -> bool:
        """Return True if the log is folded up to the end that it had when the fold began."""
        return self._start is not None and self._fold.seq >= self._start.seq

    @property
    def trouble(self) -> str | None:
        """Reason why runs can be neither read nor decided on now, for operators, or `None`."""
        if self.check.reason and (self._fold.owed or not self.is_caught_up):
            return f"{self.check.reason} The projection is being rebuilt."
        return None if self.is_caught_up else "The log is still being read."

    async def current(self) -> int:
        """Number of the connection's session, after checking that its log is the one that is folded.

        Code that decides by the fold calls this first and writes in that session only. Raises `Unavailable` if the
        fold has not begun within 2 s or the check is not possible, `Diverged` if the log is another one.
        """
        try:
            async with asyncio.timeout(_RESTORED_S):
                await self._restored.wait()
        except TimeoutError as error:
            raise Unavailable(self.trouble or "The log is still being read.") from error
        return await self.check.session()

    async def restore(self) -> None:
        """Begin with the saved projection if it is of this log, else with an empty one. Waits until NATS answers."""
        found = await retry_unavailable(lambda: self._fold.restore(self._log))
        self._start = await retry_unavailable(self._log.end)
        self.check.restored(found)
        self._restored.set()

    def lose(self) -> None:
        """Stop answering until the next `restore`, since the log is another one; logs the reason."""
        self._start = None
        self._restored.clear()
        text = "%s Nothing is written until the projection is rebuilt."
        logger.error(text, self.check.reason, extra={"event": "log.diverged"})
