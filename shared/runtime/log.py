"""The event log as services use it: write once, read, follow, take tasks. `jetstream.py` and `memory.py` implement it;
one state machine in the tests compares them.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from shared.contracts.messages import Fill, Message, Queue
from shared.errors import Refused

Consumer = str
"""Name of a durable consumer: a kind of task, the leadership, or the asks of an endpoint."""


class Stored(Struct, frozen=True):
    """The slot was empty and now holds these bytes, at sequence `seq`."""

    seq: int


class Full(Struct, frozen=True):
    """The slot had been filled before, perhaps by an earlier try of the same write. Nothing was written."""


Filled = Stored | Full | Refused
"""The answer to one fill. `Refused` is permanent, as for a message that is too large."""


class End(Struct, frozen=True):
    """The end of the log: sequence of its last message (0 if there is none), the server's time, and the log's creation
    time.

    `seq` skips messages that an operator deleted, since they can never be read. `last` is the highest sequence ever
    given.
    """

    seq: int
    time: datetime
    created: datetime
    last: int


class Hint(Struct, frozen=True):
    """A message on core NATS: not stored, and received only by subscribers of the moment."""

    subject: str
    data: bytes


LogCheck = Callable[[], Awaitable[None]]
"""Returns if the log is the one that was read. Raises `Diverged` if it is not, `Unavailable` if that is not known."""


class TaskDelivery(Protocol):
    """One task as it was handed to this worker."""

    @property
    def message(self) -> Message:
        """The stored message of the task."""
        ...

    @property
    def deliveries(self) -> int:
        """Number of times that the task was handed out, this one included, as far as the server remembers."""
        ...

    @property
    def fresh(self) -> bool:
        """True only if no worker can have been handed this task before; False also if that is not known."""
        ...

    async def ack(self) -> None:
        """Acknowledge the task. Sent, not confirmed: after a lost acknowledgement the task comes again, its
        slot full.
        """

    async def nak(self, *, delay_s: float = 0.0) -> None:
        """Give the task back, to be handed out again after `delay_s` seconds. Until then it counts as in flight."""

    async def renew(self) -> None:
        """Extend the time to acknowledge by another `ack_wait`. Raises `Unavailable` unless the server confirms."""


class Evidence(Protocol):
    """Store of frozen texts by their SHA-256."""

    async def put(self, text: str) -> str:
        """Store `text`, unless it is stored, and return its SHA-256 (hex, of the UTF-8 bytes).

        Retries through reconnections and while NATS is full, without limit. Raises `Refused` if NATS will never take
        it, and `Unavailable` if the log is closed.
        """
        ...

    async def get(self, sha256: str) -> str | None:
        """Return the text with this hash, checked against it, or `None` if none is stored."""
        ...


class Log(Evidence, Protocol):
    """The event log of all runs."""

    @property
    def trouble(self) -> str | None:
        """Reason why writes currently fail although NATS is connected, for operators, or `None`."""
        ...

    async def wait_writable(self) -> None:
        """Return once there is no `trouble`. Call it before work whose result has to be written."""

    @property
    def session(self) -> int:
        """Number of the connection's session. Each reconnection begins a new one, perhaps with another server."""
        ...

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        """Write each slot that is empty; return an answer for each, in order.

        Retries through reconnections, leader elections and while NATS is full, until every slot is answered for. Raises
        `Unavailable` if the log is closed meanwhile, and, with `session`, if that session is over: nothing is then sent
        in another session.
        """
        ...

    async def pad(self, up_to: int, *, session: int) -> None:
        """Append empty messages until the sequence `up_to` is given. Raises `Unavailable` like `fill`."""

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] = {}) -> int:
        """Append a contract message and return its sequence.

        Raises `LogFull` at once if NATS is full, `Unavailable` after a few seconds without an answer, `Refused` if too
        large.
        """
        ...

    async def last(self, subjects: Sequence[str], *, leader: bool = False) -> dict[str, Message]:
        """Return the newest message of each of these subjects that has one, by subject. Wildcards need `leader=False`.

        Reads from any replica, which may lag; with `leader`, from the one that has acknowledged every write.
        """
        ...

    async def newest(self, pattern: str) -> Message | None:
        """Return the newest message under a subject pattern as the stream's leader has it, or `None`."""
        ...

    def history(self, pattern: str, *, after: int = 0) -> AsyncIterator[Message]:
        """Yield the messages under a subject pattern beyond sequence `after`, in order, to the end of the log."""
        ...

    async def first(self, pattern: str, *, after: int) -> Message | None:
        """Return the first message under a subject pattern beyond sequence `after`, or `None`."""
        ...

    def follow(self, after: int, *, check: "LogCheck | None" = None) -> AsyncGenerator[Sequence[Message]]:
        """Yield every message beyond sequence `after`, in order and without gaps, for ever, in chunks as they come.

        `check` is awaited before each new reader: at the beginning and after each interruption. Raises `Diverged` if it
        does. A reader that begins beyond the end of the log silently skips messages up to its beginning, so a stored
        position has to be checked.
        """
        ...

    async def at(self, seq: int, *, leader: bool = False) -> Message | None:
        """Return the message at sequence `seq`, or `None`. With `leader`, as the stream's leader has it."""
        ...

    async def end(self) -> End:
        """Return where the log ends now."""
        ...

    def tasks(self, consumer: Consumer, *, at_most: int) -> AbstractAsyncContextManager["Tasks"]:
        """Open the tasks of a shared consumer; at most `at_most` are held at once. They are closed on exit."""
        ...

    async def queue(self, consumer: Consumer) -> Queue:
        """Return the state of a shared consumer. Raises `Unavailable`, and `Refused` if it does not exist yet."""
        ...

    async def hint(self, subject: str, data: bytes) -> None:
        """Publish a hint to subscribers of the moment; it is not stored and may be lost."""

    def hints(self, pattern: str) -> AsyncGenerator[Hint]:
        """Yield hints under a subject pattern as they come, until the caller stops."""
        ...


class Tasks(Protocol):
    """Tasks of a shared consumer, pulled continuously."""

    def __aiter__(self) -> AsyncIterator[Sequence[TaskDelivery]]:
        """Yield chunks of tasks as they come; ends after `close`."""
        ...

    async def release(self, count: int = 1) -> None:
        """Free the places of `count` taken tasks, so that as many more may come."""

    async def close(self) -> None:
        """Take no more tasks."""
