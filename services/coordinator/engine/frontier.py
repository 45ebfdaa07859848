"""The part of the log that decisions by rule may rely on: how far it must be folded, and which time is proven."""

from datetime import UTC, datetime, timedelta
from typing import Final

from shared.runtime import clock
from shared.runtime.log import End

_EPOCH: Final = datetime.fromtimestamp(0, UTC)


class Frontier:
    """The time up to which everything stored is folded, and the end of the log that is to be folded next.

    A deadline may only be judged at the proven time: whatever was stored before it could still change the outcome.
    """

    def __init__(self) -> None:
        self._goal: End | None = None
        self._skew = timedelta()
        self.proven = _EPOCH
        """Time by the server's clock up to which the log is folded."""

    def now(self) -> datetime:
        """Current time by the server's clock, as far as its skew is known from the last end that was read."""
        return clock.now() + self._skew

    @property
    def is_pending(self) -> bool:
        """Return True if an end of the log was read and is not folded yet."""
        return self._goal is not None

    def restart(self, time: datetime) -> None:
        """Begin again with a fold whose newest message was stored at `time`, which may be earlier than before."""
        self.proven = time

    def pursue(self, end: End) -> None:
        """Require that the log is folded up to `end`, and take its time for the skew of the clocks."""
        self._goal = end
        self._skew = end.time - clock.now()

    def abandon(self) -> None:
        """Require nothing any more. The proven time stays."""
        self._goal = None

    def reach(self, seq: int) -> bool:
        """Return True if `seq` is at or beyond the pending end; then that end's time is proven and no longer pending.

        Return False if nothing is pending, or if the pending end is beyond `seq`.
        """
        if self._goal is None or seq < self._goal.seq:
            return False
        self.advance(self._goal.time)
        self._goal = None
        return True

    def advance(self, time: datetime) -> None:
        """Prove `time`; an earlier one than is proven already has no effect."""
        self.proven = max(self.proven, time)
