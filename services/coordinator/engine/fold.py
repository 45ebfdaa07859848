"""Fold of the log: recently changed runs in memory, all runs in the projection."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from services.coordinator.engine.divergence import Checkpoint, Divergence, owed
from services.coordinator.engine.log_check import confirm_divergence
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
"""`wake_at` of a run that is not looked at since it changed."""

FactListener = Callable[[str, Message], None]
"""Called with run id and message for every fact of a run as it is folded. Must not raise or block."""


class Fold:
    """Runs as folded from the log. Only `take` moves `seq` on."""

    def __init__(self, projection: Projection) -> None:
        self._projection = projection
        self._created = ""
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.listeners: set[FactListener] = set()
        self._forget()

    def _forget(self) -> None:
        """Reset to the state before the first message."""
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._new: set[str] = set()
        """Ids that the projection did not have when it was saved last, so that it is asked for a new run once."""
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
        self.pending = PendingMessages(self._projection, self.run)

    async def restore(self, log: Log) -> Divergence | None:
        """Resume with what is folded if it is of this log, else begin anew; how the log differs, or `None`.

        Clears the projection when beginning anew, and logs why. Raises `Unavailable`, and then changes nothing.
        """
        known = self.checkpoint if self._created else (self._projection.known() or self._projection.checkpoint())
        end, found = await confirm_divergence(log, known) if known else (await log.end(), None)
        if found is None and self._created:
            return None
        if found is None and (checkpoint := self._projection.checkpoint()):
            self._resume(checkpoint)
            return None
        if known:
            reason = f"The log is another one: {found.reason}" if found else "The projection is of another release"
            text = "%s; the projection is rebuilt from %d messages."
            logger.warning(text, reason, end.seq, extra={"event": "projection.rebuilt"})
        self._begin(end, owed(known, found) if known and found else known.owed if known else 0)
        return found

    def _resume(self, checkpoint: Checkpoint) -> None:
        """Resume with the saved projection."""
        self._created = checkpoint.created
        self.seq = self._saved_seq = checkpoint.seq
        self._sha256, self._stored, self._end = checkpoint.sha256, checkpoint.time, checkpoint.last
        self.owed, self.used = checkpoint.owed, checkpoint.used
        self._saved_wake = self._projection.next_wake()
        self.pending.note_truncation(self.used)
        self.pending.restore()

    def _begin(self, end: End, owed: int) -> None:
        """Begin with the first message of this log. `owed` is the last sequence of a truncation to be recorded."""
        self._forget()
        self._created, self._end, self.owed = end.created.isoformat(), end.last, owed
        self._projection.clear(self.checkpoint)

    @property
    def checkpoint(self) -> Checkpoint:
        """How far the log is folded, and marks by which to recognize it."""
        if self._last:
            self._sha256, self._stored = sha256(self._last.data).hexdigest(), self._last.time.isoformat()
            self._last = None
        last = max(self._end, self.seq)
        return Checkpoint(self._created, self.seq, self._sha256, self._stored, last, self.owed, self.used)

    def note_end(self, end: End) -> None:
        """Note an end of the log: sequences up to it are given."""
        self._end = max(self._end, end.last)

    def take(self, messages: Sequence[Message]) -> None:
        """Fold the next messages of the log, and wake those that wait for their sequence."""
        for message in messages:
            self._take(message)
        if messages:
            self.seq, self._last = messages[-1].seq, messages[-1]
            self.time = max(self.time, messages[-1].time)
            self._wake_waiting()

    def _take(self, message: Message) -> None:
        """Fold one message: a fact of a run, a contract message, a refusal, or a record of truncation.

        Calls listeners for facts. A fact that `add_written` folded before is not folded again.
        """
        slot = parse_slot(message.subject)
        if slot:
            if message.seq in self._written:
                self._written.discard(message.seq)
            else:
                self.add(decode_message(slot, message))
            for heard in self.listeners:
                heard(slot.run, message)
        elif message.subject in INBOUND:
            self.pending.add(message)
        elif (refused := refused_sequence(message.subject)) is not None:
            self.pending.drop(refused)
            if failed := refusal_failure(message):
                self._refusals.append(failed)
        elif (last_seq := truncated_seq(message.subject)) is not None:
            self._truncated(last_seq)

    def _truncated(self, last_seq: int) -> None:
        """Note the record of a truncation: sequences up to `last_seq` may have been given before."""
        self.used = max(self.used, last_seq)
        if self.owed <= self.used:
            self.owed = 0
        self.pending.note_truncation(self.used)

    def add_written(self, it: Recorded) -> None:
        """Fold a fact that this process wrote, ahead of its place in the log."""
        if it.seq > self.seq:
            self._written.add(it.seq)
        self.add(it)

    def add(self, it: Recorded) -> None:
        """Fold one fact, and drop pending messages that it records."""
        run = evolve(self.run(it.slot.run) or Run(it.slot.run), it)
        self._keep(run)
        self.pending.settle(run)

    def _keep(self, run: Run) -> None:
        """Keep a changed run in memory, unsaved and touched; unless it has ended, it is to be looked at at once."""
        self._runs[run.id] = run
        self._runs.move_to_end(run.id)
        self._wakes[run.id] = None if run.completed else AT_ONCE
        self.touched[run.id] = None

    def run(self, run: str) -> Run | None:
        """The run as folded, or `None`. A run from the projection is kept in memory."""
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
        """The run as folded, or `None`, for readers: takes no place in memory."""
        return self._runs.get(run) or self._projection.load(run)

    def schedule(self, run: str, wake_at: datetime | None) -> None:
        """Have a run that is owed nothing looked at again at `wake_at`; never by time if that is `None`."""
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
        """Return True if memory is ahead of the projection."""
        return bool(self._wakes) or self.seq != self._saved_seq

    def save(self) -> None:
        """Save everything in one transaction. Drops the oldest and the largest runs from memory."""
        runs = [(self._runs[run], wake_at) for run, wake_at in self._wakes.items()]
        came, answered = self.pending.changes()
        refusals, self._refusals = self._refusals, []
        for heavy in self._projection.save(
            runs, self.checkpoint, unanswered=came, answered=answered, refusals=refusals
        ):
            del self._runs[heavy]
        self._saved_seq = self.seq
        self._new.clear()
        self._wakes.clear()
        self._saved_wake, self._unsaved_wake = self._projection.next_wake(), None
        self.pending.refill()
        while len(self._runs) > _CACHED_RUNS:
            self._runs.popitem(last=False)

    async def wait_for(self, seq: int) -> None:
        """Return when the log is folded up to `seq`."""
        if seq > self.seq:
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((seq, future))
            await future

    def _wake_waiting(self) -> None:
        """Wake those whose sequence is reached."""
        if not self._waiting:
            return
        for seq, future in self._waiting:
            if seq <= self.seq and not future.done():
                future.set_result(None)
        self._waiting = [(seq, future) for seq, future in self._waiting if not future.done()]
