"""The log folded so far: busy runs in memory, all of them in the projection."""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from services.coordinator.failures import Failed, of_refusal
from services.coordinator.inbox import Inbox
from services.coordinator.projection import Checkpoint, Projection
from services.coordinator.run import Recorded, Run, evolve
from services.coordinator.stored import recorded
from shared.contracts.subjects import INBOUND, Slot, parse_slot, refused_seq
from shared.runtime.log import Log, Message

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
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self._new: set[str] = set()
        """Names that were not in the projection when it was saved last: a new run is looked for there once."""
        self._wakes: dict[str, float | None] = {}
        self._last = b""
        self._created = ""
        self._saved_seq = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self._written: set[int] = set()
        self._refusals: list[Failed] = []
        self.seq = 0
        self.time = datetime.fromtimestamp(0, UTC)
        self.next_wake: float | None = None
        """The earliest moment to look again at a run that is not saved yet."""
        self.touched: dict[str, None] = {}
        """Runs to look at, in the order in which they changed."""
        self.inbox = Inbox(projection, self.run)
        self.listeners: set[Heard] = set()

    async def restore(self, log: Log) -> None:
        """Go on from the checkpoint where it is one of this very log, else from the beginning."""
        end = await log.end()
        self._created = end.created.isoformat()
        checkpoint = self._projection.checkpoint()
        if checkpoint and await _is_of(checkpoint, self._created, log):
            self.seq = self._saved_seq = checkpoint.seq
            self.inbox.restore()
            return
        if checkpoint:
            logger.warning(
                "The projection is of another log or fold; it is rebuilt from %d facts.",
                end.seq,
                extra={"event": "projection.rebuilt"},
            )
        self._projection.clear()

    def take(self, messages: Sequence[Message]) -> None:
        """Fold the next messages of the log."""
        for message in messages:
            self._take(message)
        if messages:
            self.seq, self._last = messages[-1].seq, messages[-1].data
            self.time = max(self.time, messages[-1].time)
            self._tell_waiting()

    def _take(self, message: Message) -> None:
        slot = parse_slot(message.subject)
        if slot:
            if message.seq in self._written:
                self._written.discard(message.seq)
            else:
                self.add(read(slot, message))
            for heard in self.listeners:
                heard(slot.run, message)
        elif message.subject in INBOUND:
            self.inbox.add(message)
        elif (refused := refused_seq(message.subject)) is not None:
            self.inbox.drop(refused)
            if failed := of_refusal(message):
                self._refusals.append(failed)

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
            self.next_wake = min(self.next_wake or wake, wake)

    @property
    def unsaved(self) -> bool:
        """Whether memory is ahead of the projection."""
        return bool(self._wakes) or self.seq != self._saved_seq

    def save(self) -> None:
        """Bring the projection up to here, in one transaction."""
        checkpoint = Checkpoint(self._created, self.seq, sha256(self._last).hexdigest())
        runs = [(self._runs[run], wake_at) for run, wake_at in self._wakes.items()]
        came, answered = self.inbox.changes()
        refusals, self._refusals = self._refusals, []
        for heavy in self._projection.save(runs, checkpoint, unanswered=came, answered=answered, refusals=refusals):
            del self._runs[heavy]
        self._saved_seq = self.seq
        self._new.clear()
        self._wakes.clear()
        self.next_wake = None
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


def read(slot: Slot, message: Message) -> Recorded:
    """The fact that a whole message stores."""
    return recorded(slot, message.data, seq=message.seq, stored_at=message.time, text=message.text)


async def _is_of(checkpoint: Checkpoint, created: str, log: Log) -> bool:
    """Whether a checkpoint is of this log: created then, and with that message at that place."""
    if checkpoint.created != created:
        return False
    stored = await log.at(checkpoint.seq)
    return checkpoint.seq == 0 or (stored is not None and sha256(stored.data).hexdigest() == checkpoint.sha256)
