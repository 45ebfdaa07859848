"""Contract messages that nothing has followed yet: all of them in the projection, the oldest in memory."""

from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from msgspec import Struct

from services.coordinator.engine.projection import Projection
from shared.contracts.facts import RequestRefused
from shared.contracts.messages import Message
from shared.contracts.subjects import is_reserved
from shared.domain.inbound import Inbound, is_recorded, parse_inbound
from shared.domain.run import Run

IN_MEMORY: Final = 5_000
"""So many are kept at hand; what is beyond waits in the projection."""


class PendingMessage(Struct, frozen=True):
    """One message, and what it says."""

    message: Message
    said: Inbound | RequestRefused


class PendingMessages:
    """Takes contract messages in order and lets them go in any. Nothing is forgotten before it is dropped."""

    def __init__(self, projection: Projection, known: Callable[[str], Run | None]) -> None:
        self._projection = projection
        self._known = known
        self._waiting: dict[int, PendingMessage] = {}
        self._of_run: dict[str, set[int]] = {}
        self._added: dict[int, Message] = {}
        self._dropped: set[int] = set()
        self._is_whole = True
        self._used = 0

    def __bool__(self) -> bool:
        """Whether any message waits."""
        return bool(self._waiting) or not self._is_whole

    def may_concern(self, run: str) -> bool:
        """Whether a message on this run waits, as far as can be told while not all that wait are at hand."""
        return not self._is_whole or run in self._of_run

    def add(self, message: Message) -> None:
        """The next message."""
        self._added[message.seq] = message
        self._is_whole = self._is_whole and len(self._waiting) < IN_MEMORY
        if self._is_whole:
            self._keep(message)

    def drop(self, seq: int) -> None:
        """This message is dealt with."""
        if self._added.pop(seq, None) is None:
            self._dropped.add(seq)
        if (waiting := self._waiting.pop(seq, None)) and (run := _run(waiting)):
            self._unnamed(seq, run)

    def settle(self, run: Run) -> None:
        """Drop what is recorded by now in `run`; its request too where that would have another id by now."""
        seqs = self._of_run.get(run.id, set[int]())
        request = {run.accepted.fact.request_seq} & self._waiting.keys() if run.accepted else set[int]()
        for seq in sorted(seqs | request):
            said = self._waiting[seq].said
            if isinstance(said, Inbound) and is_recorded(said, run):
                self.drop(seq)

    def note_truncation(self, used: int) -> None:
        """Take note that sequences up to `used` may have been given before, and so the ids that they make."""
        self._used = used
        for seq, waiting in [*self._waiting.items()]:
            if seq <= used and (run := _run(waiting)) and is_reserved(run):
                self._unnamed(seq, run)
                self._name(waiting.message, parse_inbound(waiting.message, used=used))

    def oldest(self, count: int) -> list[PendingMessage]:
        """The first that wait, in order; none where what waits is still to be fetched with `refill`."""
        return list(islice(self._waiting.values(), count))

    def about(self, run: str) -> list[tuple[int, str]]:
        """Those about a run, as far as they are at hand: place and subject."""
        return [(seq, self._waiting[seq].message.subject) for seq in sorted(self._of_run.get(run, ()))]

    def changes(self) -> tuple[Iterable[Message], Iterable[int]]:
        """What was added and what was dropped since the last call."""
        added, dropped = self._added, self._dropped
        self._added, self._dropped = {}, set()
        return added.values(), dropped

    def refill(self) -> None:
        """Fetch what waits in the projection, as it was saved last, once nothing is left at hand."""
        if self._waiting or self._is_whole:
            return
        stored = self._projection.unanswered(limit=IN_MEMORY)
        for message in stored:
            self._keep(message)
        self._is_whole = len(stored) < IN_MEMORY

    def restore(self) -> None:
        """Begin with what the projection has."""
        self._is_whole = False
        self.refill()

    def _keep(self, message: Message) -> None:
        """Have it at hand, unless it says again what is recorded: nothing will ever follow from that."""
        said = parse_inbound(message, used=self._used)
        if isinstance(said, Inbound) and (run := self._known(said.run)) and is_recorded(said, run):
            self.drop(message.seq)
        else:
            self._name(message, said)

    def _name(self, message: Message, said: Inbound | RequestRefused) -> None:
        """Have it under the run that it is about."""
        self._waiting[message.seq] = PendingMessage(message, said)
        if isinstance(said, Inbound):
            self._of_run.setdefault(said.run, set()).add(message.seq)

    def _unnamed(self, seq: int, run: str) -> None:
        of_run = self._of_run[run]
        of_run.discard(seq)
        if not of_run:
            del self._of_run[run]


def _run(waiting: PendingMessage) -> str | None:
    return waiting.said.run if isinstance(waiting.said, Inbound) else None
