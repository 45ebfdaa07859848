"""Health of writes to a stream, from the answers of the server. Logged once when writes begin to fail and once when
they succeed again.
"""

import asyncio
import contextlib
import logging
from typing import Final

from shared.errors import LogFull, Unavailable

logger = logging.getLogger(__name__)

_SILENT_S: Final = 5.0
"""Seconds of failing writes, other than for a lack of room, before they count as trouble; an election takes less."""
_STALE_S: Final = 10.0
"""Seconds after the last refusal until trouble expires: it is then unknown if there is room, and the next write finds
out."""
_LOOK_AGAIN_S: Final = 1.0
_HINT: Final = "Where its disk is full, as its own log says then, make room and restart nats-server."


class WriteHealth:
    """The health of one stream, as its writers report it."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.failures = 0
        """Number of failed tries to write."""
        self._reason: str | None = None
        self._first = 0.0
        self._heard = 0.0
        self._is_logged = False
        self._news = asyncio.Event()

    @property
    def trouble(self) -> str | None:
        """Reason why writes currently fail, for operators, or `None`. Expires 10 s after the last refusal."""
        return self._reason if self._reason and self._is_logged and _time() - self._heard < _STALE_S else None

    def record_refusal(self, why: Unavailable) -> None:
        """Record that the connected server did not take a write.

        Becomes `trouble`, logged once, at once for `LogFull` and after `_SILENT_S` of failures for other reasons.
        """
        now = _time()
        if self._reason is None or (not self._is_logged and now - self._heard >= _STALE_S):
            self._first = now
        self._heard = now
        full = isinstance(why, LogFull)
        self._reason = str(why) if full else f"NATS takes no writes to {self.stream}: {why} {_HINT}"
        if not self._is_logged and (full or now - self._first >= _SILENT_S):
            self._is_logged = True
            self._news.clear()
            logger.error(
                "%s Writes wait and go on by themselves once there is room.",
                self._reason,
                extra={"event": "log.full"},
            )

    def record_success(self) -> None:
        """Record that a write was taken: `trouble` ends, which is logged, and `wait` returns."""
        if self._reason is None:
            return
        if self._is_logged:
            logger.warning("NATS takes writes to %s again.", self.stream, extra={"event": "log.taken_again"})
        self._reason, self._is_logged = None, False
        self._news.set()

    async def wait(self) -> None:
        """Return once there is no trouble."""
        while self.trouble:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN_S):
                    await self._news.wait()


def _time() -> float:
    """The event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
