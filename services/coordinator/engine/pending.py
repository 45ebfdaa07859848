"""Contract messages that are not answered yet: all in the projection, the oldest in memory."""

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
"""Number of messages kept in memory; later ones wait in the projection."""


class PendingMessage(Struct, frozen=True):
    """One message, and its parsed content or refusal."""

    message: Message
    content: Inbound | RequestRefused


class PendingMessages:
    """Messages in the order of the log, dropped in any order. None is lost before it is dropped."""

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
        """Return True if any message is pending."""
        return bool(self._waiting) or not self._is_whole

    def may_concern(self, run: str) -> bool:
        """Return True if a message about this run is pending, or may be among those not in memory."""
        return not self._is_whole or run in self._of_run

    def add(self, message: Message) -> None:
        """Add the next message of the log."""
        self._added[message.seq] = message
        self._is_whole = self._is_whole and len(self._waiting) < IN_MEMORY
        if self._is_whole:
            self._keep(message)

    def drop(self, seq: int) -> None:
        """Drop a message that is answered; an unknown sequence is passed to the next save."""
        if self._added.pop(seq, None) is None:
            self._dropped.add(seq)
        if (waiting := self._waiting.pop(seq, None)) and (run := _run(waiting)):
            self._unnamed(seq, run)

    def settle(self, run: Run) -> None:
        """Drop messages that are recorded in `run`, its request included."""
        seqs = self._of_run.get(run.id, set[int]())
        request = {run.accepted.fact.request_seq} & self._waiting.keys() if run.accepted else set[int]()
        for seq in sorted(seqs | request):
            content = self._waiting[seq].content
            if isinstance(content, Inbound) and is_recorded(content, run):
                self.drop(seq)

    def note_truncation(self, used: int) -> None:
        """Note that sequences up to `used` may have been given before; run ids derived from them change."""
        self._used = used
        for seq, waiting in [*self._waiting.items()]:
            if seq <= used and (run := _run(waiting)) and is_reserved(run):
                self._unnamed(seq, run)
                self._name(waiting.message, parse_inbound(waiting.message, used=used))

    def oldest(self, count: int) -> list[PendingMessage]:
        """The first `count` messages in memory, in order; none may be in memory until `refill`."""
        return list(islice(self._waiting.values(), count))

    def about(self, run: str) -> list[tuple[int, str]]:
        """Sequence and subject of the messages in memory about a run, in order."""
        return [(seq, self._waiting[seq].message.subject) for seq in sorted(self._of_run.get(run, ()))]

    def changes(self) -> tuple[Iterable[Message], Iterable[int]]:
        """Messages added and sequences dropped since the last call, which are cleared."""
        added, dropped = self._added, self._dropped
        self._added, self._dropped = {}, set()
        return added.values(), dropped

    def refill(self) -> None:
        """Load messages from the saved projection if none are left in memory."""
        if self._waiting or self._is_whole:
            return
        stored = self._projection.unanswered(limit=IN_MEMORY)
        for message in stored:
            self._keep(message)
        self._is_whole = len(stored) < IN_MEMORY

    def restore(self) -> None:
        """Begin with the messages in the projection."""
        self._is_whole = False
        self.refill()

    def _keep(self, message: Message) -> None:
        """Keep a message in memory, or drop it if it is recorded in its run already."""
        content = parse_inbound(message, used=self._used)
        if isinstance(content, Inbound) and (run := self._known(content.run)) and is_recorded(content, run):
            self.drop(message.seq)
        else:
            self._name(message, content)

    def _name(self, message: Message, content: Inbound | RequestRefused) -> None:
        """Keep a message under the run that it is about."""
        self._waiting[message.seq] = PendingMessage(message, content)
        if isinstance(content, Inbound):
            self._of_run.setdefault(content.run, set()).add(message.seq)

    def _unnamed(self, seq: int, run: str) -> None:
        """Remove a message from those about its run."""
        of_run = self._of_run[run]
        of_run.discard(seq)
        if not of_run:
            del self._of_run[run]


def _run(waiting: PendingMessage) -> str | None:
    """Run that a message is about; `None` for one that is to be refused."""
    return waiting.content.run if isinstance(waiting.content, Inbound) else None
