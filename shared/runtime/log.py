"""The log as the services see it: write once, read, follow, take tasks. Two implementations keep these promises,
`jetstream.py` and `memory.py`; one state machine in the tests holds them against each other.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from shared.contracts.messages import Fill, Message, Queue
from shared.errors import Refused

Consumer = str
"""A durable consumer by name: that of the tasks of one kind, of the leadership among coordinators, of what is to be
told to an endpoint."""


class Stored(Struct, frozen=True):
    """The slot was empty and now holds these bytes, at `seq`."""

    seq: int


class Full(Struct, frozen=True):
    """The slot had been filled before, by whomever; perhaps by an earlier try of the same write."""


Filled = Stored | Full | Refused
"""What became of one fill. `Refused` is for what the server will never take, such as a message too large."""


class End(Struct, frozen=True):
    """Where the log ends: its last message (0 when there is none), the server's time then, and when it was created.

    A message that an operator deleted is no end: whoever waited for it would wait for ever. `last` is the sequence
    that was given last, also where that message was deleted.
    """

    seq: int
    time: datetime
    created: datetime
    last: int


class Hint(Struct, frozen=True):
    """What is told to whoever listens just then."""

    subject: str
    data: bytes


LogCheck = Callable[[], Awaitable[None]]
"""Returns if the log is the one that was read. Raises `Diverged` if it is not, `Unavailable` if that is not known."""


class TaskDelivery(Protocol):
    """One task, as it was handed to this worker."""

    @property
    def message(self) -> Message:
        """The task as it is stored."""
        ...

    @property
    def deliveries(self) -> int:
        """How often this task has been handed out, this time included, as far as the server remembers."""
        ...

    @property
    def fresh(self) -> bool:
        """True only if no worker can have been handed this task before; False where that is not known."""
        ...

    async def ack(self) -> None:
        """The task is dealt with. Sent, not confirmed: a lost ack brings the task back, and its slot is found full."""
        ...

    async def nak(self, *, delay_s: float = 0.0) -> None:
        """Give the task back, to be handed out again after `delay_s`. Until then it counts as in flight."""
        ...

    async def renew(self) -> None:
        """Ask for another `ack_wait`. Raises `Unavailable` unless the server confirms."""
        ...


class Evidence(Protocol):
    """Frozen texts by their SHA-256."""

    async def put(self, text: str) -> str:
        """Store `text`, once for ever; its SHA-256 (hex, of the UTF-8 bytes).

        Goes on through reconnects, and while NATS is full, until it is stored. Raises `Refused` for what never will be.
        """
        ...

    async def get(self, sha256: str) -> str | None:
        """The text with this hash, checked against it; `None` where none is stored."""
        ...


class Log(Evidence, Protocol):
    """The event log of all runs."""

    @property
    def trouble(self) -> str | None:
        """Why NATS, although it is there, takes no writes just now, for whoever can help; `None` where it does."""
        ...

    async def wait_writable(self) -> None:
        """Wait until there is no `trouble`. Whoever begins what will have to be written waits here first."""
        ...

    @property
    def session(self) -> int:
        """The number of the connection's session. Each reconnection begins a new one: the server may be another."""
        ...

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        """Write each slot that is empty; an answer for each, in order.

        Goes on through reconnects and leader changes, and while NATS is full, until it has answered for every one.
        Raises `Unavailable` only when closed meanwhile; with `session`, also when that session of the connection is
        over. Nothing is sent in any other session then.
        """
        ...

    async def pad(self, up_to: int, *, session: int) -> None:
        """Append empty messages until the sequence `up_to` is given. Raises `Unavailable`, as `fill` does."""
        ...

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] = {}) -> int:
        """Append a contract message; its sequence.

        Raises `NoRoom` at once where NATS is full, `Unavailable` after a few seconds without an answer.
        """
        ...

    async def last(self, subjects: Sequence[str], *, leader: bool = False) -> dict[str, Message]:
        """The newest message of each of these subjects that has one (wildcards allowed without `leader`).

        From any replica, which may lag; with `leader`, from the one that has acknowledged every write.
        """
        ...

    async def newest(self, pattern: str) -> Message | None:
        """The newest message under a subject pattern, as the stream's leader has it."""
        ...

    def history(self, pattern: str, *, after: int = 0) -> AsyncIterator[Message]:
        """What is stored under a subject pattern beyond sequence `after`, in order, to the end of the log."""
        ...

    async def first(self, pattern: str, *, after: int) -> Message | None:
        """The first of what is stored under a subject pattern beyond sequence `after`; `None` where nothing is."""
        ...

    def follow(self, after: int, *, check: "LogCheck | None" = None) -> AsyncGenerator[Sequence[Message]]:
        """Every message beyond sequence `after`, in order and without gaps, for ever, in chunks as they come.

        `check` is awaited before each new reader, that is at the beginning and after each interruption. Ends with
        `Diverged` where it raises that. A reader that begins beyond the end of the log skips in silence whatever
        comes up to its beginning, so whoever goes on from a stored place has to check it.
        """
        ...

    async def at(self, seq: int, *, leader: bool = False) -> Message | None:
        """The message at this place; `None` where there is none. With `leader`, as the stream's leader has it."""
        ...

    async def end(self) -> End:
        """Where the log ends now."""
        ...

    def tasks(self, consumer: Consumer, *, at_most: int) -> AbstractAsyncContextManager["Tasks"]:
        """Take what a shared consumer hands out, never holding more than `at_most` at once."""
        ...

    async def queue(self, consumer: Consumer) -> Queue:
        """How the tasks of a shared consumer stand. Raises `Unavailable`, and `Refused` where there is none yet."""
        ...

    async def hint(self, subject: str, data: bytes) -> None:
        """Tell whoever listens; not stored, perhaps lost."""
        ...

    def hints(self, pattern: str) -> AsyncGenerator[Hint]:
        """Hints as they come."""
        ...


class Tasks(Protocol):
    """A standing order for tasks."""

    def __aiter__(self) -> AsyncIterator[Sequence[TaskDelivery]]:
        """Chunks of tasks as they come; ends when the order is closed."""
        ...

    async def release(self, count: int = 1) -> None:
        """So many of the taken tasks are dealt with; as many more may come."""
        ...

    async def close(self) -> None:
        """Take no more."""
        ...
