"""Tasks of `MemoryLog`: shared consumers, as JetStream has them."""

import asyncio
from collections.abc import AsyncIterator, Sequence

from msgspec import Struct

from shared.contracts.messages import Message, Queue
from shared.runtime.log import TaskDelivery


class _Pending(Struct):
    """A message in flight; `until` (loop time) it is not handed out again."""

    message: Message
    deliveries: int
    until: float


class SharedConsumer:
    """One durable consumer: the messages under its patterns that are handed out and not acknowledged yet."""

    def __init__(
        self, messages: Sequence[Message], patterns: Sequence[str], max_ack_pending: int, ack_wait_s: float
    ) -> None:
        self._messages = messages
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
        """Return True if `subject` matches one of the patterns."""
        return any(matches_subject(pattern, subject) for pattern in self._patterns)

    def stored(self, subject: str) -> None:
        """Wake the takers if a message under `subject` was stored."""
        if self._wants(subject):
            self.news.set()

    async def take(self, at_most: int) -> list[TaskDelivery]:
        """Return up to `at_most` messages that are due, overdue ones first; waits for at least one."""
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
        """Return the state of the consumer."""
        return Queue(
            waiting=sum(self._wants(message.subject) for message in self._messages[self._next :]),
            in_flight=len(self._pending),
            limit=self._max_ack_pending,
            redelivered=sum(one.deliveries > 1 for one in self._pending.values()),
            asking=self._asking,
            handed_out=self._next,
        )

    def settle(self, seq: int) -> None:
        """Acknowledge a message; it is not handed out again."""
        self._pending.pop(seq, None)
        self.news.set()

    def extend(self, seq: int, by_s: float | None = None) -> None:
        """Hand the message out again only after `by_s` seconds (default: `ack_wait`). Ignores messages not
        in flight.
        """
        if one := self._pending.get(seq):
            one.until = _time() + (self._ack_wait_s if by_s is None else by_s)
        self.news.set()

    def truncate(self, last_seq: int) -> None:
        """Drop messages beyond `last_seq`."""
        self._next = min(self._next, last_seq)
        self._pending = {seq: one for seq, one in self._pending.items() if seq <= last_seq}
        self._handed = {seq: one for seq, one in self._handed.items() if seq <= last_seq}
        self._forgotten = [message for message in self._forgotten if message.seq <= last_seq]
        self.news.set()

    def forget(self, since: float) -> set[str]:
        """Hand out again, as new, the messages first handed out since `since` (loop time); return their subjects."""
        self.forgotten_to = len(self._messages)
        recent = [message for at, message in self._handed.values() if at >= since]
        for message in recent:
            self._pending.pop(message.seq, None)
            del self._handed[message.seq]
        self._forgotten += recent
        self.news.set()
        return {message.subject for message in recent}

    def _ready(self, at_most: int) -> list[TaskDelivery]:
        """Hand out up to `at_most` messages: overdue ones, then new ones within `max_ack_pending`."""
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
        """Return the next message that was not handed out, forgotten ones first, or `None`."""
        if self._forgotten:
            return self._forgotten.pop(0)
        while self._next < len(self._messages):
            message = self._messages[self._next]
            self._next += 1
            if self._wants(message.subject):
                return message
        return None


class MemoryDelivery:
    """`TaskDelivery` of a `SharedConsumer`."""

    def __init__(self, consumer: SharedConsumer, message: Message, deliveries: int) -> None:
        self._consumer = consumer
        self.message = message
        self.deliveries = deliveries
        self.fresh = deliveries == 1 and message.seq > consumer.forgotten_to

    async def ack(self) -> None:
        """Acknowledge the message."""
        self._consumer.settle(self.message.seq)

    async def nak(self, *, delay_s: float = 0.0) -> None:
        """Give the message back, to be handed out again after `delay_s` seconds."""
        self._consumer.extend(self.message.seq, delay_s)

    async def renew(self) -> None:
        """Keep the message for another `ack_wait`."""
        self._consumer.extend(self.message.seq)


class MemoryTasks:
    """`Tasks` of a `SharedConsumer`."""

    def __init__(self, consumer: SharedConsumer, at_most: int) -> None:
        self._consumer = consumer
        self._free = at_most
        self._released = asyncio.Event()
        self._closed = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Sequence[TaskDelivery]]:
        """Yield chunks of tasks, at most as many as places are free, until closed."""
        while not self._closed.is_set():
            if taken := await self._next():
                self._free -= len(taken)
                yield taken

    async def release(self, count: int = 1) -> None:
        """Free the places of `count` tasks."""
        self._free += count
        self._released.set()

    async def close(self) -> None:
        """Take no more tasks."""
        self._closed.set()

    async def _next(self) -> list[TaskDelivery]:
        """Return the next tasks; an empty list if a place was freed or the tasks were closed meanwhile."""
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
    """Return True if a NATS subject pattern (`*` one token, `>` one or more at the end) matches `subject`."""
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
    """The event loop's clock, in seconds."""
    return asyncio.get_running_loop().time()
