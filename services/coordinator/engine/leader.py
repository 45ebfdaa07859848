"""The leading coordinator's work: make sure that the fold is current, then write what is owed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

from services.coordinator.engine import owed_writes
from services.coordinator.engine.fold import Fold
from services.coordinator.engine.frontier import Frontier
from services.coordinator.engine.log_session import LogSession
from services.coordinator.engine.observe import Observe
from services.coordinator.engine.owed_writes import OwedWrites
from services.coordinator.engine.writer import RunWriter, Written
from shared.domain.encoding import PendingWrite, encode_truncation
from shared.domain.inbound import Defaults
from shared.domain.run import Recorded
from shared.errors import Refused, Unavailable
from shared.runtime import clock
from shared.runtime.log import Full, Log

logger = logging.getLogger(__name__)

_REFUSED_PAUSE_S: Final = 0.5
_REFUSED_AGAIN_S: Final = 60.0
_NO_ROOM_AGAIN_S: Final = 5.0


class Leader:
    """Writes what runs are owed. Used by one coroutine at a time, and only while this coordinator leads."""

    def __init__(
        self,
        log: Log,
        fold: Fold,
        session: LogSession,
        frontier: Frontier,
        *,
        defaults: Defaults,
        set_up: Callable[[], Awaitable[None]],
        observe: Observe,
    ) -> None:
        self._log = log
        self._fold = fold
        self._session = session
        self._frontier = frontier
        self._owed_writes = OwedWrites(fold, frontier, defaults)
        self._writer = RunWriter(log)
        self._set_up = set_up
        self._observe = observe
        self._is_set_up = False

    def reset(self) -> None:
        """Forget the term of leadership: streams and consumers, and the end of the log, are looked up anew."""
        self._is_set_up = False
        self._frontier.abandon()

    async def record_truncation(self) -> None:
        """Record in the log that it was truncated. Raises `Unavailable`."""
        session = await self._session.current()
        await self._ensure_topology()
        record = encode_truncation(self._fold.owed, self._session.check.reason or "", time=clock.now())
        await self._log.fill([record], session=session)

    async def write_owed(self) -> None:
        """Write what is owed if the fold is current, else return to fold more. Raises `Unavailable`."""
        if await self._is_current():
            await self._write_next()
        elif len(self._fold.touched) > owed_writes.BATCH:
            self._fold.touched.clear()  # all are saved as due at once, and found there when everything is folded

    async def _is_current(self) -> bool:
        """Return True if the log is folded up to an end read since the election and since the last timer was due.

        Touches the runs that are due when such an end is reached. Raises `Unavailable`.
        """
        fold, frontier = self._fold, self._frontier
        wake = fold.next_wake
        is_due = wake is not None and wake <= frontier.now().timestamp()
        if fold.seq < fold.used:
            await self._log.pad(fold.used, session=await self._session.current())
        if not frontier.is_pending and (is_due or not self._is_set_up or fold.seq < fold.used):
            await self._read_end()
        if not frontier.is_pending:
            return True
        if not frontier.reach(fold.seq):
            return False
        fold.touch_due(frontier.proven, limit=owed_writes.BATCH)
        return True

    async def _read_end(self) -> None:
        """Read the end of the log as the next one to reach; set up streams and consumers first, once a term."""
        if not self._is_set_up:
            await self._ensure_topology()
            self._is_set_up = True
            self._fold.save()
        end = await self._log.end()
        self._frontier.pursue(end)
        if end.last < self._fold.seq:
            self._session.check.suspect()

    async def _ensure_topology(self) -> None:
        """Create or update streams and consumers. A refusal by NATS is logged, not raised. Raises `Unavailable`."""
        try:
            await self._set_up()
        except Refused as error:
            logger.error("JetStream is not as it should be: %s", error, extra={"event": "topology.refused"})

    async def _write_next(self) -> None:
        """Write the next batch of what is owed and fold the results. Raises `Unavailable`."""
        session = await self._session.current()
        self._frontier.advance(self._fold.time)
        writes, put_off = await self._writer.put_texts(self._owed_writes.collect())
        for write in put_off:
            self._look_again(write, _NO_ROOM_AGAIN_S)
        if writes:
            await self._write(writes, session)

    async def _write(self, writes: Sequence[PendingWrite], session: int) -> None:
        """Fill the slots and fold what stands in them now. If no answer comes, their runs are looked at again."""
        try:
            results = await self._writer.fill(writes, session=session, now=self._frontier.proven)
        except Unavailable:
            self._fold.touched.update(dict.fromkeys(write.slot.run for write in writes if write.slot))
            raise
        full: list[PendingWrite] = []
        for write, result in zip(writes, results, strict=True):
            match result:
                case Written(fact=it):
                    self._recorded(write, it)
                case Full():
                    full.append(write)
                case Refused():
                    await self._refused(write, result)
        for winner in await self._writer.read_winners(full):
            if winner.fact:
                self._fold.add(winner.fact)
                if isinstance(winner, Written):
                    self._tell(winner.fact)

    def _recorded(self, write: PendingWrite, it: Recorded | None) -> None:
        """Drop the message that a write answers, fold its fact ahead of the log, and call the observer."""
        if write.answers is not None:
            self._fold.pending.drop(write.answers)
        if it:
            self._fold.add_written(it)
            self._tell(it)

    def _tell(self, it: Recorded) -> None:
        """Call the observer with a fact that this process wrote and its run."""
        if run := self._fold.run(it.slot.run):
            self._observe(run, it)

    async def _refused(self, write: PendingWrite, error: Refused) -> None:
        """Log a write that NATS refused, have its run looked at again later, and pause so that errors do not flood."""
        run = write.slot.run if write.slot else ""
        subject = write.fill.subject
        logger.error("%s was refused: %s", subject, error, extra={"event": "write.refused", "run_id": run})
        self._look_again(write, _REFUSED_AGAIN_S)
        await asyncio.sleep(_REFUSED_PAUSE_S)

    def _look_again(self, write: PendingWrite, after_s: float) -> None:
        """Have the run of a write looked at again so many seconds after the proven time."""
        if write.slot:
            self._fold.schedule(write.slot.run, self._frontier.proven + timedelta(seconds=after_s))
