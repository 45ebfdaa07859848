"""`Log` in memory: the same promises within one process, for tests and simulation."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import sha256
from typing import Final

from msgspec import Struct

from shared.contracts.envelope import MAX_BYTES
from shared.contracts.messages import Fill, Message, Queue
from shared.contracts.subjects import KINDS, LEAD, LOG_PADDING, task_filter
from shared.contracts.topology import ACK_WAIT_S, LEAD_WAIT_S, Limits
from shared.errors import LogFull, Refused, Unavailable
from shared.runtime import clock
from shared.runtime.log import Consumer, End, Filled, Full, Hint, LogCheck, Stored, TaskDelivery

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
            kind: SharedConsumer(self, [task_filter(kind)], limits.in_flight(kind), ACK_WAIT_S) for kind in KINDS
        } | {"lead": SharedConsumer(self, [LEAD], 1, LEAD_WAIT_S)}

    @property
    def messages(self) -> Sequence[Message]:
        """Everything stored, in order."""
        return self._messages

    def is_full(self, reason: str | None) -> None:
        """Take no writes from now on, for this reason; take them again where there is none."""
        self._trouble = reason
        if reason is None:
            self._emptied.set()
        else:
            self._emptied.clear()

    @property
    def trouble(self) -> str | None:
        return self._trouble

    async def wait_writable(self) -> None:
        while self._trouble:
            await self._emptied.wait()

    @property
    def texts(self) -> Mapping[str, str]:
        """Every frozen text by its SHA-256."""
        return self._texts

    def add_consumer(self, name: Consumer, *patterns: str, max_ack_pending: int, ack_wait_s: float) -> None:
        """Hand out what is stored under these patterns, to whoever takes the tasks of `name`."""
        self._consumers[name] = SharedConsumer(self, patterns, max_ack_pending, ack_wait_s)

    @property
    def session(self) -> int:
        return self._session

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        await self.wait_writable()
        self._refuse_other(session)
        return [self._fill(fill) for fill in fills]

    async def pad(self, up_to: int, *, session: int) -> None:
        self._refuse_other(session)
        while len(self._messages) < up_to:
            self._append(LOG_PADDING, b"", _NO_HEADERS)

    def _refuse_other(self, session: int | None) -> None:
        if session not in (None, self._session):
            raise Unavailable("The session of the connection is over.")

    async def publish(self, subject: str, data: bytes, headers: Mapping[str, str] = _NO_HEADERS) -> int:
        if len(data) > MAX_BYTES:
            raise Refused(_TOO_LARGE, f"{subject}: message size exceeds maximum allowed")
        if self._trouble:
            raise LogFull(self._trouble)
        return self._append(subject, data, headers).seq

    async def last(self, subjects: Sequence[str], *, leader: bool = False) -> dict[str, Message]:
        exact = {subject: self._newest[subject] for subject in subjects if subject in self._newest}
        wild = [pattern for pattern in subjects if "*" in pattern or ">" in pattern]
        return exact | {
            subject: message
            for subject, message in (self._newest.items() if wild else ())
            if any(matches_subject(pattern, subject) for pattern in wild)
        }

    async def newest(self, pattern: str) -> Message | None:
        return next(
            (message for message in reversed(self._messages) if matches_subject(pattern, message.subject)), None
        )

    async def history(self, pattern: str, *, after: int = 0) -> AsyncIterator[Message]:
        for message in self._messages[after:]:
            if matches_subject(pattern, message.subject):
                yield message

    async def first(self, pattern: str, *, after: int) -> Message | None:
        return next((message for message in self._messages[after:] if matches_subject(pattern, message.subject)), None)

    async def follow(self, after: int, *, check: LogCheck | None = None) -> AsyncGenerator[Sequence[Message]]:
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
        return self._messages[seq - 1] if 0 < seq <= len(self._messages) else None

    async def end(self) -> End:
        return End(len(self._messages), self._now(), self._created, len(self._messages))

    @asynccontextmanager
    async def tasks(self, consumer: Consumer, *, at_most: int) -> "AsyncGenerator[MemoryTasks]":
        tasks = MemoryTasks(self._consumers[consumer], at_most)
        try:
            yield tasks
        finally:
            await tasks.close()

    async def queue(self, consumer: Consumer) -> Queue:
        return self._consumers[consumer].queue()

    async def put(self, text: str) -> str:
        await self.wait_writable()
        digest = sha256(text.encode()).hexdigest()
        self._texts.setdefault(digest, text)
        return digest

    async def get(self, sha256: str) -> str | None:
        return self._texts.get(sha256)

    async def hint(self, subject: str, data: bytes) -> None:
        for pattern, queues in self._hints.items():
            if matches_subject(pattern, subject):
                for queue in queues:
                    queue.put_nowait(Hint(subject, data))

    async def hints(self, pattern: str) -> AsyncGenerator[Hint]:
        queue: asyncio.Queue[Hint] = asyncio.Queue()
        self._hints[pattern][queue] = None
        try:
            while True:
                yield await queue.get()
        finally:
            del self._hints[pattern][queue]

    def truncate(self, last_seq: int) -> None:
        """Lose every message beyond `last_seq`, as a server does whose store is replaced by an older copy."""
        del self._messages[last_seq:]
        self._newest = {message.subject: message for message in self._messages}
        for consumer in self._consumers.values():
            consumer.truncate(last_seq)
        self._session += 1
        self._grown.set()

    def forget(self, since: float) -> set[str]:
        """Forget which tasks were handed out from then on (by the loop's clock), as a server does that is killed.

        They come again as if for the first time, acknowledged or not. Their subjects.
        """
        return {subject for kind in KINDS for subject in self._consumers[kind].forget(since)}

    async def grown(self) -> None:
        """Wait until something is stored."""
        self._grown.clear()
        await self._grown.wait()

    def _fill(self, fill: Fill) -> Filled:
        if len(fill.data) > MAX_BYTES:
            return Refused(_TOO_LARGE, f"{fill.subject}: message size exceeds maximum allowed")
        if fill.subject in self._newest:
            return Full()
        return Stored(self._append(fill.subject, fill.data, _NO_HEADERS).seq)

    def _append(self, subject: str, data: bytes, headers: Mapping[str, str]) -> Message:
        message = Message(subject, len(self._messages) + 1, self._now(), data, headers)
        self._messages.append(message)
        self._newest[subject] = message
        self._grown.set()
        for consumer in self._consumers.values():
            consumer.stored(subject)
        return message


class _Pending(Struct):
    message: Message
    deliveries: int
    until: float


class SharedConsumer:
    """One durable consumer: what is handed out, to whomever asks first, and not acknowledged yet."""

    def __init__(self, log: MemoryLog, patterns: Sequence[str], max_ack_pending: int, ack_wait_s: float) -> None:
        self._log = log
        self._patterns = patterns
        self._max_ack_pending = max_ack_pending
        self._ack_wait_s = ack_wait_s
        self._next = self._asking = 0
        self._pending: dict[int, _Pending] = {}
        self._handed: dict[int, tuple[float, Message]] = {}
        self._forgotten: list[Message] = []
        self.forgotten_to = 0
        self.news = asyncio.Event()

    def _wants(self, subject: str) -> bool:
        return any(matches_subject(pattern, subject) for pattern in self._patterns)

    def stored(self, subject: str) -> None:
        """Something new is in the log."""
        if self._wants(subject):
            self.news.set()

    async def take(self, at_most: int) -> list[TaskDelivery]:
        """Up to `at_most` messages that wait, waiting for the first."""
        self._asking += 1
        try:
            while not (taken := self._ready(at_most)):
                self.news.clear()
                try:
                    async with asyncio.timeout_at(min((one.until for one in self._pending.values()), default=None)):
                        await self.news.wait()
                except TimeoutError:
                    pass
            return taken
        finally:
            self._asking -= 1

    def queue(self) -> Queue:
        """How its messages stand."""
        return Queue(
            waiting=sum(self._wants(message.subject) for message in self._log.messages[self._next :]),
            in_flight=len(self._pending),
            limit=self._max_ack_pending,
            redelivered=sum(one.deliveries > 1 for one in self._pending.values()),
            asking=self._asking,
            handed_out=self._next,
        )

    def settle(self, seq: int) -> None:
        """Acknowledged: never again."""
        self._pending.pop(seq, None)
        self.news.set()

    def extend(self, seq: int, by_s: float | None = None) -> None:
        """Expect a word about this message within `by_s` (without it: `ack_wait`)."""
        if one := self._pending.get(seq):
            one.until = _time() + (self._ack_wait_s if by_s is None else by_s)
        self.news.set()

    def truncate(self, last_seq: int) -> None:
        """Know nothing of messages beyond `last_seq`."""
        self._next = min(self._next, last_seq)
        self._pending = {seq: one for seq, one in self._pending.items() if seq <= last_seq}
        self._handed = {seq: one for seq, one in self._handed.items() if seq <= last_seq}
        self._forgotten = [message for message in self._forgotten if message.seq <= last_seq]
        self.news.set()

    def forget(self, since: float) -> set[str]:
        """Hand out again, as new, what was handed out first since then; the subjects of these."""
        self.forgotten_to = len(self._log.messages)
        recent = [message for at, message in self._handed.values() if at >= since]
        for message in recent:
            self._pending.pop(message.seq, None)
            del self._handed[message.seq]
        self._forgotten += recent
        self.news.set()
        return {message.subject for message in recent}

    def _ready(self, at_most: int) -> list[TaskDelivery]:
        overdue = [one for one in self._pending.values() if one.until <= _time()][:at_most]
        for one in overdue:
            one.deliveries += 1
        while len(overdue) < at_most and len(self._pending) < self._max_ack_pending and (new := self._new()):
            self._pending[new.seq] = _Pending(new, 1, 0)
            self._handed[new.seq] = _time(), new
            overdue.append(self._pending[new.seq])
        for one in overdue:
            one.until = _time() + self._ack_wait_s
        return [MemoryDelivery(self, one.message, one.deliveries) for one in overdue]

    def _new(self) -> Message | None:
        if self._forgotten:
            return self._forgotten.pop(0)
        while self._next < len(self._log.messages):
            message = self._log.messages[self._next]
            self._next += 1
            if self._wants(message.subject):
                return message
        return None


class MemoryDelivery:
    """One message as a `SharedConsumer` handed it out."""

    def __init__(self, consumer: SharedConsumer, message: Message, deliveries: int) -> None:
        self._consumer = consumer
        self.message = message
        self.deliveries = deliveries
        self.fresh = deliveries == 1 and message.seq > consumer.forgotten_to

    async def ack(self) -> None:
        self._consumer.settle(self.message.seq)

    async def nak(self, *, delay_s: float = 0.0) -> None:
        self._consumer.extend(self.message.seq, delay_s)

    async def renew(self) -> None:
        self._consumer.extend(self.message.seq)


class MemoryTasks:
    """A standing order with a `SharedConsumer`."""

    def __init__(self, consumer: SharedConsumer, at_most: int) -> None:
        self._consumer = consumer
        self._free = at_most
        self._released = asyncio.Event()
        self._closed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Sequence[TaskDelivery]]:
        while not self._closed.is_set():
            if taken := await self._next():
                self._free -= len(taken)
                yield taken

    async def release(self, count: int = 1) -> None:
        self._free += count
        self._released.set()

    async def close(self) -> None:
        self._closed.set()

    async def _next(self) -> list[TaskDelivery]:
        """What there is to take; nothing when a place was freed or the order closed meanwhile."""
        self._released.clear()
        waits = [asyncio.create_task(self._closed.wait()), asyncio.create_task(self._released.wait())]
        taking = asyncio.create_task(self._consumer.take(self._free)) if self._free else None
        try:
            await asyncio.wait([*waits, taking] if taking else waits, return_when=asyncio.FIRST_COMPLETED)
            return taking.result() if taking and taking.done() else []
        finally:
            for wait in (*waits, taking):
                if wait:
                    wait.cancel()


def matches_subject(pattern: str, subject: str) -> bool:
    """Whether a NATS subject pattern (`*` one token, `>` all that follow) takes in `subject`."""
    if pattern == subject:
        return True
    wanted, given = pattern.split("."), subject.split(".")
    for place, part in enumerate(wanted):
        if part == ">":
            return len(given) > place
        if place >= len(given) or part not in ("*", given[place]):
            return False
    return len(wanted) == len(given)


def _time() -> float:
    return asyncio.get_running_loop().time()
