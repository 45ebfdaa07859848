"""The log folded so far: busy runs in memory, all of them in the projection."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from services.coordinator.engine.divergence import Checkpoint, Divergence, owed
from services.coordinator.engine.log_check import confirmed
from services.coordinator.engine.pending import PendingMessages
from services.coordinator.engine.projection import Projection
from shared.contracts.messages import Message
from shared.contracts.subjects import INBOUND, parse_slot, refused_sequence, truncated_seq
from shared.domain.decoding import decode_message
from shared.domain.failures import FailureRecord, refusal_failure
from shared.domain.run import Recorded, Run, evolve
from shared.runtime.log import End, Log

logger = logging.getLogger(__name__)

_CACHED_RUNS: Final = 2_000
AT_ONCE: Final = 0.0
"""The `wake_at` of a run that nobody has looked at since it changed."""

Heard = Callable[[str, Message], None]
"""Told of every fact of a run as it is folded: the run's id and the message."""


class Fold:
    """Takes the log in order and knows every run. Only `take` moves it on."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._created = ""
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.listeners: set[Heard] = set()
        self._forget()

    def _forget(self) -> None:
        """Be as before the first message."""
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._new: set[str] = set()
        """Names that were not in the projection when it was saved last: a new run is looked for there once."""
        self._wakes: dict[str, float | None] = {}
        self._sha256 = sha256(b"").hexdigest()
        self._last: Message | None = None
        self._stored = ""
        self._end = 0
        self._saved_seq = 0
        self._written: set[int] = set()
        self._refusals: list[FailureRecord] = []
        self.seq = 0
        self.time = datetime.fromtimestamp(0, UTC)
        self._saved_wake: float | None = None
        self._unsaved_wake: float | None = None
        self.touched: dict[str, None] = {}
        """Runs to look at, in the order in which they changed."""
        self.owed = 0
        """The last sequence of a truncation that this coordinator has to record in the log; 0 for none."""
        self.used = 0
        """The last sequence that may have been given before a truncation, as the log records it; 0 for none."""
        self.inbox = PendingMessages(self._projection, self.run)

    async def restore(self, log: Log) -> Divergence | None:
        """Go on from what is folded where it is of this very log, else from the beginning; how the log differs.

        Raises `Unavailable`. Nothing is changed before all that it takes is known.
        """
        known = self.checkpoint if self._created else (self._projection.known() or self._projection.checkpoint())
        end, found = await confirmed(log, known) if known else (await log.end(), None)
        if found is None and self._created:
            return None
        if found is None and (checkpoint := self._projection.checkpoint()):
            self._go_on_from(checkpoint)
            return None
        if known:
            reason = f"The log is another one: {found.reason}" if found else "The projection is of another release"
            text = "%s; the projection is rebuilt from %d messages."
            logger.warning(text, reason, end.seq, extra={"event": "projection.rebuilt"})
        self._begin(end, owed(known, found) if known and found else known.owed if known else 0)
        return found

    def _go_on_from(self, checkpoint: Checkpoint) -> None:
        self._created = checkpoint.created
        self.seq = self._saved_seq = checkpoint.seq
        self._sha256, self._stored, self._end = checkpoint.sha256, checkpoint.time, checkpoint.last
        self.owed, self.used = checkpoint.owed, checkpoint.used
        self._saved_wake = self._projection.next_wake()
        self.inbox.truncated(self.used)
        self.inbox.restore()

    def _begin(self, end: End, owed: int) -> None:
        """Read this log from its first message. What may have been given before it was truncated is kept."""
        self._forget()
        self._created, self._end, self.owed = end.created.isoformat(), end.last, owed
        self._projection.clear(self.checkpoint)

    @property
    def checkpoint(self) -> Checkpoint:
        """How far the log is folded, and how to know it again."""
        if self._last:
            self._sha256, self._stored = sha256(self._last.data).hexdigest(), self._last.time.isoformat()
            self._last = None
        last = max(self._end, self.seq)
        return Checkpoint(self._created, self.seq, self._sha256, self._stored, last, self.owed, self.used)

    def ends(self, end: End) -> None:
        """Take note of an end of the log: sequences up to it are given."""
        self._end = max(self._end, end.last)

    def take(self, messages: Sequence[Message]) -> None:
        """Fold the next messages of the log."""
        for message in messages:
            self._take(message)
        if messages:
            self.seq, self._last = messages[-1].seq, messages[-1]
            self.time = max(self.time, messages[-1].time)
            self._tell_waiting()

    def _take(self, message: Message) -> None:
        slot = parse_slot(message.subject)
        if slot:
            if message.seq in self._written:
                self._written.discard(message.seq)
            else:
                self.add(decode_message(slot, message))
            for heard in self.listeners:
                heard(slot.run, message)
        elif message.subject in INBOUND:
            self.inbox.add(message)
        elif (refused := refused_sequence(message.subject)) is not None:
            self.inbox.drop(refused)
            if failed := refusal_failure(message):
                self._refusals.append(failed)
        elif (last_seq := truncated_seq(message.subject)) is not None:
            self._truncated(last_seq)

    def _truncated(self, last_seq: int) -> None:
        self.used = max(self.used, last_seq)
        if self.owed <= self.used:
            self.owed = 0
        self.inbox.truncated(self.used)

    def wrote(self, it: Recorded) -> None:
        """Fold a fact that this process has just written, ahead of its place in the log."""
        if it.seq > self.seq:
            self._written.add(it.seq)
        self.add(it)

    def add(self, it: Recorded) -> None:
        """Fold one fact."""
        run = evolve(self.run(it.slot.run) or Run(it.slot.run), it)
        self._keep(run)
        self.inbox.settle(run)

    def _keep(self, run: Run) -> None:
        self._runs[run.id] = run
        self._runs.move_to_end(run.id)
        self._wakes[run.id] = None if run.completed else AT_ONCE
        self.touched[run.id] = None

    def run(self, run: str) -> Run | None:
        """The run as far as it is folded."""
        if known := self._runs.get(run):
            return known
        if run in self._new:
            return None
        stored = self._projection.load(run)
        if stored:
            self._runs[run] = stored
        else:
            self._new.add(run)
        return stored

    def peek(self, run: str) -> Run | None:
        """The run as far as it is folded, for a reader: it takes no place in memory."""
        return self._runs.get(run) or self._projection.load(run)

    def looked(self, run: str, wake_at: datetime | None) -> None:
        """Nothing is owed to `run` before `wake_at`."""
        wake = self._wakes[run] = wake_at.timestamp() if wake_at else None
        if wake is not None:
            self._unsaved_wake = min(self._unsaved_wake or wake, wake)

    @property
    def next_wake(self) -> float | None:
        """Earliest moment to look at any run again, saved or not, in seconds since 1970; `None` for never."""
        return min((wake for wake in (self._saved_wake, self._unsaved_wake) if wake is not None), default=None)

    def touch_due(self, until: datetime, *, limit: int) -> None:
        """Touch at most `limit` runs whose moment to look again is not after `until`, the longest due first.

        Saves before. `next_wake` counts touched runs no more, unless there may be others that are due.
        """
        if self.unsaved:
            self.save()
        due = self._projection.due(until, limit=limit)
        self.touched.update(dict.fromkeys(due))
        self._saved_wake = self._projection.next_wake(after=None if len(due) == limit else until)

    @property
    def unsaved(self) -> bool:
        """Whether memory is ahead of the projection."""
        return bool(self._wakes) or self.seq != self._saved_seq

    def save(self) -> None:
        """Bring the projection up to here, in one transaction."""
        runs = [(self._runs[run], wake_at) for run, wake_at in self._wakes.items()]
        came, answered = self.inbox.changes()
        refusals, self._refusals = self._refusals, []
        for heavy in self._projection.save(
            runs, self.checkpoint, unanswered=came, answered=answered, refusals=refusals
        ):
            del self._runs[heavy]
        self._saved_seq = self.seq
        self._new.clear()
        self._wakes.clear()
        self._saved_wake, self._unsaved_wake = self._projection.next_wake(), None
        self.inbox.refill()
        while len(self._runs) > _CACHED_RUNS:
            self._runs.popitem(last=False)

    async def reached(self, seq: int) -> None:
        """Wait until the log is folded up to `seq`."""
        if seq > self.seq:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((seq, future))
            await future

    def _tell_waiting(self) -> None:
        if not self._waiting:
            return
        for seq, future in self._waiting:
            if seq <= self.seq and not future.done():
                future.set_result(None)
        self._waiting = [(seq, future) for seq, future in self._waiting if not future.done()]
