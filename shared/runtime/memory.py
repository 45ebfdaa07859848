"""`Log` in memory, with the same guarantees within one process, for tests and simulation."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import sha256
from typing import Final

from shared.contracts.envelope import MAX_BYTES
from shared.contracts.messages import Fill, Message, Queue
from shared.contracts.subjects import KINDS, LEAD, LOG_PADDING, task_filter
from shared.contracts.topology import ACK_WAIT_S, LEAD_WAIT_S, Limits
from shared.errors import LogFull, Refused, Unavailable
from shared.runtime import clock
from shared.runtime.log import Consumer, End, Filled, Full, Hint, LogCheck, Stored
from shared.runtime.memory_tasks import MemoryTasks, SharedConsumer, matches_subject

_NO_HEADERS: Final[Mapping[str, str]] = {}
_TOO_LARGE: Final = 10054


class MemoryLog:
    """The log of all runs, in this process. `now` is the server's clock."""

    def __init__(self, *, limits: Limits | None = None, now: Callable[[], datetime] = clock.now) -> None:
        limits = limits or Limits()
        self._now = now
        self._created = now()
        self._session = 0
        self._messages: list[Message] = []
        self._newest: dict[str, Message] = {}
        self._texts: dict[str, str] = {}
        self._hints: defaultdict[str, dict[asyncio.Queue[Hint], None]] = defaultdict(dict)
        self._grown = asyncio.Event()
        self._trouble: str | None = None
        self._emptied = asyncio.Event()
        self._consumers: dict[Consumer, SharedConsumer] = {
            kind: SharedConsumer(self._messages, [task_filter(kind)], limits.in_flight(kind), ACK_WAIT_S)
            for kind in KINDS
        } | {"lead": SharedConsumer(self._messages, [LEAD], 1, LEAD_WAIT_S)}

    @property
    def messages(self) -> Sequence[Message]:
        """All stored messages, in order."""
        return self._messages

    def is_full(self, reason: str | None) -> None:
        """Refuse writes from now on for `reason`, which becomes `trouble`; accept them again if it is `None`."""
        self._trouble = reason
        if reason is None:
            self._emptied.set()
        else:
            self._emptied.clear()

    @property
    def trouble(self) -> str | None:
        """See `Log.trouble`."""
        return self._trouble

    async def wait_writable(self) -> None:
        """See `Log.wait_writable`."""
        while self._trouble:
            await self._emptied.wait()

    @property
    def texts(self) -> Mapping[str, str]:
        """All frozen texts by their SHA-256."""
        return self._texts

    def add_consumer(self, name: Consumer, *patterns: str, max_ack_pending: int, ack_wait_s: float) -> None:
        """Create the shared consumer `name` of all messages under `patterns`, replacing one of that name."""
        self._consumers[name] = SharedConsumer(self._messages, patterns, max_ack_pending, ack_wait_s)

    @property
    def session(self) -> int:
        """Number of the session; `truncate` begins a new one."""
        return self._session

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        """Write each slot that is empty, while the log is not full; see `Log.fill`."""
        await self.wait_writable()
        self._refuse_other(session)
        return [self._fill(fill) for fill in fills]

    async def pad(self, up_to: int, *, session: int) -> None:
        """Append empty messages up to sequence `up_to`; see `Log.pad`."""
        self._refuse_other(session)
        while len(self._messages) < up_to:
            self._append(LOG_PADDING, b"", _NO_HEADERS)

    def _refuse_other(self, session: int | None) -> None:
        """Raise `Unavailable` if `session` is set and is not the current one."""
        if session not in (None, self._session):
            raise Unavailable("The session of the connection is over.")

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> int:
        """Append a message and return its sequence. Raises `Refused` above `MAX_BYTES` and `LogFull` if the log is
        full.
        """
        if len(data) > MAX_BYTES:
            raise Refused(_TOO_LARGE, f"{subject}: message size exceeds maximum allowed")
        if self._trouble:
            raise LogFull(self._trouble)
        return self._append(subject, data, headers).seq

    async def last(self, subjects: Sequence[str], *, leader: bool = False) -> dict[str, Message]:
        """Return the newest message of each subject or pattern that has one; see `Log.last`."""
        exact = {subject: self._newest[subject] for subject in subjects if subject in self._newest}
        wild = [pattern for pattern in subjects if "*" in pattern or ">" in pattern]
        return exact | {
            subject: message
            for subject, message in (self._newest.items() if wild else ())
            if any(matches_subject(pattern, subject) for pattern in wild)
        }

    async def newest(self, pattern: str) -> Message | None:
        """Return the newest message under `pattern`, or `None`."""
        return next(
            (message for message in reversed(self._messages) if matches_subject(pattern, message.subject)), None
        )

    async def history(self, pattern: str, *, after: int = 0) -> AsyncIterator[Message]:
        """Yield the messages under `pattern` beyond sequence `after` that are stored now, in order."""
        for message in self._messages[after:]:
            if matches_subject(pattern, message.subject):
                yield message

    async def first(self, pattern: str, *, after: int) -> Message | None:
        """Return the first message under `pattern` beyond sequence `after`, or `None`."""
        return next((message for message in self._messages[after:] if matches_subject(pattern, message.subject)), None)

    async def follow(self, after: int, *, check: LogCheck | None = None) -> AsyncGenerator[Sequence[Message]]:
        """Yield messages beyond sequence `after` in chunks of at most 500, for ever; see `Log.follow`."""
        checked: int | None = None
        while True:
            if checked != self._session:
                checked = self._session
                if check:
                    await check()
            if chunk := self._messages[after : after + 500]:
                after += len(chunk)
                yield chunk
            else:
                await self.grown()

    async def at(self, seq: int, *, leader: bool = False) -> Message | None:
        """Return the message at sequence `seq`, or `None`."""
        return self._messages[seq - 1] if 0 < seq <= len(self._messages) else None

    async def end(self) -> End:
        """Return the end of the log; nothing is ever deleted within it."""
        return End(len(self._messages), self._now(), self._created, len(self._messages))

    @asynccontextmanager
    async def tasks(self, consumer: Consumer, *, at_most: int) -> "AsyncGenerator[MemoryTasks]":
        """Open the tasks of a consumer, at most `at_most` held at once. Raises `KeyError` for an unknown consumer."""
        tasks = MemoryTasks(self._consumers[consumer], at_most)
        try:
            yield tasks
        finally:
            await tasks.close()

    async def queue(self, consumer: Consumer) -> Queue:
        """Return the state of a consumer. Raises `KeyError` for an unknown one."""
        return self._consumers[consumer].queue()

    async def put(self, text: str) -> str:
        """Store `text` and return its SHA-256, once the log is not full."""
        await self.wait_writable()
        digest = sha256(text.encode()).hexdigest()
        self._texts.setdefault(digest, text)
        return digest

    async def get(self, sha256: str) -> str | None:
        """Return the text with this SHA-256, or `None`."""
        return self._texts.get(sha256)

    async def hint(self, subject: str, data: bytes) -> None:
        """Hand a hint to all current subscribers whose pattern matches."""
        for pattern, queues in self._hints.items():
            if matches_subject(pattern, subject):
                for queue in queues:
                    queue.put_nowait(Hint(subject, data))

    async def hints(self, pattern: str) -> AsyncGenerator[Hint]:
        """Yield hints under `pattern` as they come, until the caller stops."""
        queue: asyncio.Queue[Hint] = asyncio.Queue()
        self._hints[pattern][queue] = None
        try:
            while True:
                yield await queue.get()
        finally:
            del self._hints[pattern][queue]

    def truncate(self, last_seq: int) -> None:
        """Lose every message beyond `last_seq` and begin a new session, like a server whose store is replaced by an
        older copy.
        """
        del self._messages[last_seq:]
        self._newest = {message.subject: message for message in self._messages}
        for consumer in self._consumers.values():
            consumer.truncate(last_seq)
        self._session += 1
        self._grown.set()

    def forget(self, since: float) -> set[str]:
        """Forget the tasks handed out since `since` (loop time), like a server that is killed; return their subjects.

        They are handed out again as if for the first time, acknowledged or not.
        """
        return {subject for kind in KINDS for subject in self._consumers[kind].forget(since)}

    async def grown(self) -> None:
        """Return once a message is stored."""
        self._grown.clear()
        await self._grown.wait()

    def _fill(self, fill: Fill) -> Filled:
        """Write one slot. `Refused` above `MAX_BYTES`, `Full` if its subject has a message."""
        if len(fill.data) > MAX_BYTES:
            return Refused(_TOO_LARGE, f"{fill.subject}: message size exceeds maximum allowed")
        if fill.subject in self._newest:
            return Full()
        return Stored(self._append(fill.subject, fill.data, _NO_HEADERS).seq)

    def _append(self, subject: str, data: bytes, headers: Mapping[str, str]) -> Message:
        """Store a message at the next sequence, wake followers and consumers, and return it."""
        message = Message(subject, len(self._messages) + 1, self._now(), data, headers)
        self._messages.append(message)
        self._newest[subject] = message
        self._grown.set()
        for consumer in self._consumers.values():
            consumer.stored(subject)
        return message
