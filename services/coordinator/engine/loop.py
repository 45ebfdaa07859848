"""The coordinator's loop: fold what came, write what is owed, save, sleep until there is more or time is up.

It holds no promise of its own. What follows from a run is decided in `owed` and `intake`, what is written once
in the log; a crash anywhere in here is healed by the next look.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from services.coordinator.engine import leadership
from services.coordinator.engine.fold import Fold
from services.coordinator.engine.log_check import LogCheck
from services.coordinator.engine.observe import Observe, unobserved
from services.coordinator.engine.projection import Projection
from shared.contracts.facts import RequestRefused, RunCompleted
from shared.contracts.messages import Message
from shared.contracts.subjects import live_cancelled, parse_slot
from shared.domain.approval import ApprovalRules
from shared.domain.decisions import Accept, Defaults, Duplicate, Inbound, Reject, decide_inbound, refusal_fact
from shared.domain.decoding import decode_message, known_fact
from shared.domain.encoding import PendingWrite, encode_fact, encode_refusal, truncated
from shared.domain.fork import copy_fact
from shared.domain.owed import Owed, owed
from shared.domain.run import Recorded, Run
from shared.errors import Diverged, Refused, Unavailable
from shared.runtime import clock, dataref
from shared.runtime.aio import retry_unavailable
from shared.runtime.log import End, Filled, Full, Log, Stored

logger = logging.getLogger(__name__)

_SAVE_AFTER_S: Final = 1.0
_AGAIN_S: Final = 0.5
_LOOKS_AT_ONCE: Final = 1_000
_REFUSED_AGAIN_S: Final = 60.0
_FREEZE_S: Final = 5.0
_FROZEN_AGAIN_S: Final = 5.0
_NEVER: Final = float("inf")
_RESTORED_S: Final = 2.0
"""How long a decision waits for the fold to begin."""


class Coordinator:
    """Folds the log into runs and, while it leads, writes what they are owed."""

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
        self._set_up = set_up
        self._observe = observe
        self.fold = Fold(projection)
        self._check = LogCheck(log, lambda: self.fold.checkpoint, self.fold.ends)
        self._turning = asyncio.Lock()
        self._news = asyncio.Event()
        self._alarm = _NEVER
        self._leads = False
        self._is_set_up = False
        self._goal: End | None = None
        self._start: End | None = None
        self._restored = asyncio.Event()
        self._proven = self.fold.time
        self._skew = timedelta()
        self._next_wake: float | None = None
        self._save_by: float | None = None

    @property
    def leads(self) -> bool:
        """Whether this coordinator writes what is owed."""
        return self._leads

    @property
    def defaults(self) -> Defaults:
        """What a request gets here that does not say."""
        return self._defaults

    @property
    def rules(self) -> ApprovalRules:
        """What is demanded of approvals here."""
        return self._defaults.rules

    @property
    def caught_up(self) -> bool:
        """Whether everything is folded that was in the log when this process started."""
        return self._start is not None and self.fold.seq >= self._start.seq

    @property
    def trouble(self) -> str | None:
        """Why nothing can be answered or written here; `None` where everything can."""
        if self._check.reason and (self.fold.owed or not self.caught_up):
            return f"{self._check.reason} The projection is being rebuilt."
        return None if self.caught_up else "The log is still being read."

    async def session(self) -> int:
        """The session of the connection, once the log in it is known to be the one that is folded.

        Code that judges by the fold asks for it before, and writes in that session alone. Raises `Unavailable`.
        """
        try:
            async with asyncio.timeout(_RESTORED_S):
                await self._restored.wait()
        except TimeoutError as error:
            raise Unavailable(self.trouble or "The log is still being read.") from error
        return await self._check.session()

    @property
    def saved(self) -> Projection:
        """The projection, brought up to here."""
        if self.fold.unsaved:
            self._save_now()
        return self._projection

    async def folded(self, seq: int, *, within_s: float) -> None:
        """Return when the log is folded up to `seq`, or time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.fold.reached(seq)

    async def wait_until(self, run: str, seq: int, fits: Callable[[Run], bool], *, within_s: float) -> Run | None:
        """The run as soon as the log is folded up to `seq` and the run `fits`; as it is when time is up."""
        await self.folded(seq, within_s=within_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while (known := self.fold.peek(run)) is None or not fits(known):
                    await self.fold.reached(self.fold.seq + 1)
        return self.fold.peek(run)

    def now(self) -> datetime:
        """The time by the server's clock, as far as it is known."""
        return clock.now() + self._skew

    async def run(self) -> None:
        """Coordinate until cancelled. Where the log is not the one that was folded, begin anew with it as it is."""
        while True:
            await self.restore()
            try:
                await self._coordinate()
            except* Diverged:
                self._start = None
                self._restored.clear()
                text = "%s Nothing is written until the projection is rebuilt."
                logger.error(text, self._check.reason, extra={"event": "log.diverged"})

    async def restore(self) -> None:
        """Begin with what is folded where it is of this log, else with nothing; wait for NATS where it takes that."""
        found = await retry_unavailable(lambda: self.fold.restore(self._log))
        self._start = await retry_unavailable(self._log.end)
        self._next_wake, self._save_by, self._proven = self._projection.next_wake(), None, self.fold.time
        self._check.restored(found)
        self._restored.set()

    async def _coordinate(self) -> None:
        """Read, write and lead, until cancelled or `Diverged`."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read())
                group.create_task(self._keep_time())
                group.create_task(self._check.watch())
                group.create_task(self._stand())
        finally:
            self.fold.save()

    async def _stand(self) -> None:
        """Stand for the leadership, once a truncation that this coordinator knows of is recorded in the log."""
        if self.fold.owed:
            await retry_unavailable(self._record_truncation)
        await leadership.run_election(self._log, self._elected)

    async def _record_truncation(self) -> None:
        session = await self.session()
        await self._ensure_topology()
        record = truncated(self.fold.owed, self._check.reason or "", time=clock.now())
        await self._log.fill([record], session=session)

    async def _read(self) -> None:
        async with aclosing(self._log.follow(self.fold.seq, check=self._check)) as chunks:
            async for chunk in chunks:
                async for part in dataref.load_texts(self._log, chunk):
                    await self._turn(part)

    async def _keep_time(self) -> None:
        """Turn when nothing comes and yet something is to be done."""
        while True:
            self._alarm = self._next_alarm()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._alarm):
                    await self._news.wait()
            self._news.clear()
            await self._turn(())

    def _elected(self, leads: bool) -> None:
        self._leads = leads
        self._is_set_up = False
        self._goal = None
        self._news.set()

    async def _turn(self, chunk: Sequence[Message]) -> None:
        """Fold a chunk, write what is owed, save; one turn at a time."""
        async with self._turning:
            self.fold.take(chunk)
            try:
                await self._write_owed()
            except Unavailable as error:
                logger.warning("Nothing can be written: %s", error, extra={"event": "write.put_off"})
                await asyncio.sleep(_AGAIN_S)
                self._news.set()
            self._save()
        if self._presses or self._next_alarm() < self._alarm:
            self._news.set()

    async def _write_owed(self) -> None:
        """Write what is owed, if it is this coordinator's to write and everything is folded that bears on it."""
        if not self._leads:
            self.fold.touched.clear()
        elif await self._is_current():
            await self._act()
        elif len(self.fold.touched) > _LOOKS_AT_ONCE:
            self.fold.touched.clear()  # all are saved as due at once, and found there when everything is folded

    @property
    def _presses(self) -> bool:
        """Whether there is more to do at once."""
        return self._leads and self._goal is None and bool(self.fold.touched or self.fold.inbox)

    def _next_alarm(self) -> float:
        """When to turn although nothing came, by the loop's clock."""
        time = asyncio.get_running_loop().time()
        save = _NEVER if self._save_by is None else self._save_by
        wake = self._soonest() if self._leads and self._goal is None else None
        return save if wake is None else min(save, time + max(0.0, wake - self.now().timestamp()))

    def _soonest(self) -> float | None:
        """When to look at any run again, saved or not."""
        return min((wake for wake in (self._next_wake, self.fold.next_wake) if wake is not None), default=None)

    async def _is_current(self) -> bool:
        """Whether the log is folded up to an end that was read since the election, and since the last timer rang."""
        wake = self._soonest()
        rings = wake is not None and wake <= self.now().timestamp()
        if self.fold.seq < self.fold.used:
            await self._log.pad(self.fold.used, session=await self.session())
        if self._goal is None and (rings or not self._is_set_up or self.fold.seq < self.fold.used):
            await self._begin()
        if self._goal is None:
            return True
        if self.fold.seq < self._goal.seq:
            return False
        self._proven = max(self._proven, self._goal.time)
        self._goal = None
        self._ring()
        return True

    def _ring(self) -> None:
        """Look at the runs whose time has come. What is beyond the limit rings again at once."""
        if self.fold.unsaved:
            self._save_now()
        due = self._projection.due(self._proven, limit=_LOOKS_AT_ONCE)
        self.fold.touched.update(dict.fromkeys(due))
        beyond = len(due) == _LOOKS_AT_ONCE
        self._next_wake = self._projection.next_wake(after=None if beyond else self._proven)

    async def _begin(self) -> None:
        if not self._is_set_up:
            await self._ensure_topology()
            self._is_set_up = True
            self._save_now()
        self._goal = await self._log.end()
        if self._goal.last < self.fold.seq:
            self._check.suspect()
        self._skew = self._goal.time - clock.now()

    async def _ensure_topology(self) -> None:
        try:
            await self._set_up()
        except Refused as error:
            logger.error("JetStream is not as it should be: %s", error, extra={"event": "topology.refused"})

    async def _act(self) -> None:
        session = await self.session()
        self._proven = max(self._proven, self.fold.time)
        waiting: set[str] = set()
        writes = await self._with_texts([*self._answers(waiting), *self._debts(waiting)])
        if not writes:
            return
        filled = await self._filled(writes, session)
        lost = [write for write, result in zip(writes, filled, strict=True) if not await self._settle(write, result)]
        if lost:
            await self._learn({write.slot.subject: write for write in lost if write.slot})

    async def _filled(self, writes: Sequence[PendingWrite], session: int) -> list[Filled]:
        """An answer for each of these writes. What is owed is looked at again where there is none."""
        try:
            return await self._log.fill([write.fill for write in writes], session=session)
        except Unavailable:
            self.fold.touched.update(dict.fromkeys(write.slot.run for write in writes if write.slot))
            raise

    async def _with_texts(self, writes: list[PendingWrite]) -> list[PendingWrite]:
        """These writes, what they refer to in `EVIDENCE`; less those for which it has no room, which come up again."""
        if all(write.text is None for write in writes):
            return writes
        ready = [write for write in writes if write.text is None or await self._is_frozen(write.text)]
        for put_off in writes:
            if put_off not in ready and put_off.slot:
                self.fold.looked(put_off.slot.run, self._proven + timedelta(seconds=_FROZEN_AGAIN_S))
        return ready

    async def _is_frozen(self, text: str) -> bool:
        """Whether this is in `EVIDENCE`. Nobody else is kept waiting long where that is full."""
        try:
            async with asyncio.timeout(_AGAIN_S if self._log.trouble else _FREEZE_S):
                await self._log.put(text)
        except TimeoutError:
            return False
        except Refused as error:
            logger.error("A text of %d characters was refused: %s", len(text), error, extra={"event": "text.refused"})
            return False
        return True

    def _answers(self, waiting: set[str]) -> Iterable[PendingWrite]:
        """For each run (gathered in `waiting`) the first contract message that nothing has followed yet.

        The next one waits until that is recorded, and so does a fork of that run.
        """
        for message, inbound in self._oldest():
            if isinstance(inbound, RequestRefused):
                yield encode_refusal(inbound, time=clock.now())
            elif inbound.run in waiting or inbound.forks in waiting:
                waiting.add(inbound.run)
            else:
                waiting.add(inbound.run)
                source = self.fold.run(inbound.forks) if inbound.forks else None
                match decide_inbound(inbound, self.fold.run(inbound.run), self._defaults, source=source):
                    case Duplicate():
                        self.fold.inbox.drop(message.seq)
                    case Reject() as why:
                        yield encode_refusal(
                            refusal_fact(message.subject, message.seq, inbound.run, why), time=clock.now()
                        )
                    case Accept(slot=slot, fact=fact):
                        yield encode_fact(slot, fact, self._trace(inbound), time=clock.now(), answers=message.seq)

    def _oldest(self) -> list[tuple[Message, Inbound | RequestRefused]]:
        inbox = self.fold.inbox
        if inbox and not inbox.oldest(1):
            self._save_now()
        return [(waiting.message, waiting.said) for waiting in inbox.oldest(_LOOKS_AT_ONCE)]

    def _debts(self, waiting: set[str]) -> Iterable[PendingWrite]:
        """What the runs that changed or are due are owed; not those in `waiting`, whose decision comes first."""
        looked = list(islice((run_id for run_id in self.fold.touched if run_id not in waiting), _LOOKS_AT_ONCE))
        for run_id in looked:
            del self.fold.touched[run_id]
            run = self.fold.run(run_id)
            if run is None:
                continue
            due = self._due(run)
            if not due:
                self.fold.looked(run_id, due.wake_at)
            for slot, fact in due.facts:
                yield encode_fact(slot, fact, run.traceparent, time=clock.now(), run=run)
            for copy in due.copies:
                fact = copy_fact(copy, self.fold.run(copy.origin.run))
                yield encode_fact(copy.slot, fact, run.traceparent, time=clock.now(), run=run)

    def _due(self, run: Run) -> Owed:
        """What `run` is owed; no decision by policy or time while a person's may wait that is not looked at yet."""
        due = owed(run, self._proven, self._defaults.writer, self.rules)
        if not self.fold.inbox.may_concern(run.id) or all(slot.name != "decision" for slot, _ in due.facts):
            return due
        return Owed(wake_at=self._proven + timedelta(seconds=_AGAIN_S))

    async def _settle(self, write: PendingWrite, filled: Filled) -> bool:
        """Fold what was written. False where the slot was full, so that it must be read who won."""
        match filled:
            case Stored(seq=seq):
                if write.answers is not None:
                    self.fold.inbox.drop(write.answers)
                if write.slot and write.event:
                    it = known_fact(write.slot, write.fill.data, write.event, seq=seq, stored_at=self._proven)
                    self.fold.wrote(it)
                    self._tell(it)
                    await self._tell_workers(it)
                return True
            case Full():
                if write.slot is None and write.answers is not None:
                    self.fold.inbox.drop(write.answers)
                return False
            case Refused():
                logger.error(
                    "%s was refused: %s",
                    write.fill.subject,
                    filled,
                    extra={"event": "write.refused", "run_id": write.slot.run if write.slot else ""},
                )
                if write.slot:
                    self.fold.looked(write.slot.run, self._proven + timedelta(seconds=_REFUSED_AGAIN_S))
                await asyncio.sleep(_AGAIN_S)
                return True

    def _tell(self, it: Recorded) -> None:
        """This process wrote it, and so it is this one that tells of it."""
        if run := self.fold.run(it.slot.run):
            self._observe(run, it)

    async def _tell_workers(self, it: Recorded) -> None:
        if isinstance(it.fact, RunCompleted) and it.fact.outcome == "cancelled":
            await self._log.hint(live_cancelled(it.slot.run), b"")

    async def _learn(self, lost: Mapping[str, PendingWrite]) -> None:
        """Fold what stands in these slots. It may be our own: stored at an earlier try, whose answer was lost."""
        for message in (await self._log.last(list(lost), leader=True)).values():
            slot = parse_slot(message.subject)
            assert slot
            it = decode_message(slot, await dataref.load_text(self._log, message))
            self.fold.add(it)
            if message.data == lost[message.subject].fill.data:
                self._tell(it)

    def _trace(self, inbound: Inbound) -> str | None:
        if not inbound.verb:
            return inbound.trace
        return run.traceparent if (run := self.fold.run(inbound.run)) else None

    def _save(self) -> None:
        """Save a moment after the first change, so that what changes often is saved once."""
        now = asyncio.get_running_loop().time()
        if not self.fold.unsaved:
            return
        if self._save_by is None:
            self._save_by = now + _SAVE_AFTER_S
        elif now >= self._save_by:
            self._save_now()

    def _save_now(self) -> None:
        """Save, and know from what is saved when to look again: memory knows it of nothing any more."""
        self.fold.save()
        self._save_by = None
        self._next_wake = self._projection.next_wake()
