"""The coordinator: follows the log, folds it into runs, saves them, and while it leads writes what runs are owed.

Rules are in `shared.domain`, exclusiveness in the log's slots. A crash anywhere in here is repaired by looking again.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Final

from services.coordinator.engine import leadership
from services.coordinator.engine.fold import Fold
from services.coordinator.engine.frontier import Frontier
from services.coordinator.engine.leader import Leader
from services.coordinator.engine.log_session import LogSession
from services.coordinator.engine.observe import Observe, unobserved
from services.coordinator.engine.projection import Projection
from shared.contracts.messages import Message
from shared.domain.approval import ApprovalRules
from shared.domain.inbound import Defaults
from shared.domain.run import Run
from shared.errors import Diverged, Unavailable
from shared.runtime import dataref
from shared.runtime.aio import retry_unavailable
from shared.runtime.log import Log

logger = logging.getLogger(__name__)

_SAVE_AFTER_S: Final = 1.0
_UNAVAILABLE_PAUSE_S: Final = 0.5
_NEVER: Final = float("inf")


class Coordinator:
    """Folds the log into runs and, while it leads, writes what they are owed. Reading runs needs no leadership."""

    def __init__(
        self,
        log: Log,
        projection: Projection,
        *,
        defaults: Defaults,
        set_up: Callable[[], Awaitable[None]],
        observe: Observe = unobserved,
    ) -> None:
        self._log = log
        self._projection = projection
        self._defaults = defaults
        self.fold = Fold(projection)
        self._session = LogSession(log, self.fold)
        self._frontier = Frontier()
        self._leader = Leader(
            log, self.fold, self._session, self._frontier, defaults=defaults, set_up=set_up, observe=observe
        )
        self._leads = False
        self._turning = asyncio.Lock()
        self._news = asyncio.Event()
        self._alarm = _NEVER
        self._save_by = _NEVER

    @property
    def leads(self) -> bool:
        """Return True if this coordinator is the one that writes what is owed."""
        return self._leads

    @property
    def defaults(self) -> Defaults:
        """Values for fields that a request leaves out."""
        return self._defaults

    @property
    def rules(self) -> ApprovalRules:
        """Demands on approvals, as configured here."""
        return self._defaults.rules

    @property
    def caught_up(self) -> bool:
        """Return True if everything is folded that was in the log when this process started."""
        return self._session.is_caught_up

    @property
    def trouble(self) -> str | None:
        """Reason why runs can be neither read nor decided on now, for operators, or `None`."""
        return self._session.trouble

    async def session(self) -> int:
        """Session of the connection for writes that are decided by this fold; see `LogSession.current`."""
        return await self._session.current()

    @property
    def saved(self) -> Projection:
        """The projection, after saving what is folded."""
        if self.fold.unsaved:
            self.fold.save()
        return self._projection

    async def folded(self, seq: int, *, within_s: float) -> None:
        """Return when the log is folded up to `seq`, or after `within_s` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.fold.wait_for(seq)

    async def wait_until(self, run: str, seq: int, fits: Callable[[Run], bool], *, within_s: float) -> Run | None:
        """The run as soon as the log is folded up to `seq` and the run `fits`.

        Each of the two conditions is awaited for `within_s` seconds; after that the run as it is, or `None`.
        """
        await self.folded(seq, within_s=within_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while (known := self.fold.peek(run)) is None or not fits(known):
                    await self.fold.wait_for(self.fold.seq + 1)
        return self.fold.peek(run)

    def now(self) -> datetime:
        """Current time by the server's clock, as far as its skew is known."""
        return self._frontier.now()

    async def run(self) -> None:
        """Coordinate until cancelled. If the log turns out to be another one, begin anew with it."""
        while True:
            await self.restore()
            try:
                await self._coordinate()
            except* Diverged:
                self._session.lose()

    async def restore(self) -> None:
        """Begin with the saved projection if it is of this log, else with an empty one. Waits until NATS answers."""
        await self._session.restore()
        self._frontier.restart(self.fold.time)
        self._save_by = _NEVER

    async def _coordinate(self) -> None:
        """Follow, keep time, check the log and stand for leadership until cancelled; save at the end.

        Raises an `ExceptionGroup` with `Diverged` if the log is another one.
        """
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                group.create_task(self._keep_time())
                group.create_task(self._session.check.watch())
                group.create_task(self._stand())
        finally:
            self.fold.save()

    async def _stand(self) -> None:
        """Run leader election until cancelled, after recording a truncation of the log that is not recorded yet."""
        if self.fold.owed:
            await retry_unavailable(self._leader.record_truncation)
        await leadership.run_election(self._log, self._elected)

    def _elected(self, leads: bool) -> None:
        """Begin or end a term of leadership."""
        self._leads = leads
        self._leader.reset()
        self._news.set()

    async def _follow(self) -> None:
        """Take one turn for each chunk of the log, from the fold on. Raises `Diverged`."""
        async with aclosing(self._log.follow(self.fold.seq, check=self._session.check)) as chunks:
            async for chunk in chunks:
                async for part in dataref.load_texts(self._log, chunk):
                    await self._turn(part)

    async def _keep_time(self) -> None:
        """Take a turn whenever the alarm is due or more work is announced, until cancelled."""
        while True:
            self._alarm = self._next_alarm()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._alarm):
                    await self._news.wait()
            self._news.clear()
            await self._turn(())

    async def _turn(self, chunk: Sequence[Message]) -> None:
        """Fold a chunk, write what is owed, save; one turn at a time. Logs `Unavailable` and tries again later."""
        async with self._turning:
            self.fold.take(chunk)
            try:
                await self._write_owed()
            except Unavailable as error:
                logger.warning("Nothing can be written: %s", error, extra={"event": "write.put_off"})
                await asyncio.sleep(_UNAVAILABLE_PAUSE_S)
                self._news.set()
            self._save()
        if self._has_work or self._next_alarm() < self._alarm:
            self._news.set()

    async def _write_owed(self) -> None:
        """Write what is owed if this coordinator leads; else forget which runs changed: the leader looks at them."""
        if self._leads:
            await self._leader.write_owed()
        else:
            self.fold.touched.clear()

    @property
    def _is_current(self) -> bool:
        """Return True if this coordinator leads and waits for no end of the log."""
        return self._leads and not self._frontier.is_pending

    @property
    def _has_work(self) -> bool:
        """Return True if the next turn has something to write."""
        return self._is_current and bool(self.fold.touched or self.fold.pending)

    def _next_alarm(self) -> float:
        """Moment of the next turn if nothing comes, by the event loop's clock; infinite if there is none."""
        wake = self.fold.next_wake if self._is_current else None
        if wake is None:
            return self._save_by
        due_in = max(0.0, wake - self.now().timestamp())
        return min(self._save_by, asyncio.get_running_loop().time() + due_in)

    def _save(self) -> None:
        """Save one second after the first unsaved change, so that runs that change often are saved once."""
        now = asyncio.get_running_loop().time()
        if self.fold.unsaved and now >= self._save_by:
            self.fold.save()
        if not self.fold.unsaved:
            self._save_by = _NEVER
        elif self._save_by == _NEVER:
            self._save_by = now + _SAVE_AFTER_S
