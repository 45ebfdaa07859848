"""A log in memory that keeps a record of what a worker does with it."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

from msgspec.structs import replace

from shared.contracts import envelope
from shared.contracts.envelope import Event
from shared.contracts.facts import Fact, StepOutcome
from shared.contracts.messages import Fill, Message
from shared.contracts.subjects import Slot
from shared.errors import Refused, Unavailable
from shared.runtime.log import Consumer, Filled, TaskDelivery, Tasks
from shared.runtime.memory import MemoryLog


class Witness(MemoryLog):
    """A log that keeps a record of what a worker does with it, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[str] = []
        self.writable = asyncio.Event()
        self.writable.set()
        self.readable = True
        self.refuses = 0
        self.takes_texts = True
        self.renewable = True
        self.renewals_hang = False
        self.handed_out = 0

    async def fill(self, fills: Sequence[Fill], *, session: int | None = None) -> list[Filled]:
        """Goes on when whoever waits for it is gone, as the real one does."""
        return await asyncio.shield(self._fill_when_writable(fills))

    async def _fill_when_writable(self, fills: Sequence[Fill]) -> list[Filled]:
        await self.writable.wait()
        self.done += [f"fill {fill.subject}" for fill in fills]
        if self.refuses:
            self.refuses -= 1
            return [Refused(10054, "message size exceeds maximum allowed")] * len(fills)
        return await super().fill(fills)

    async def put(self, text: str) -> str:
        self.done.append("put")
        if not self.takes_texts:
            raise Refused(10077, "maximum messages exceeded")
        return await super().put(text)

    async def last(self, subjects: Sequence[str], *, leader: bool = False) -> dict[str, Message]:
        self.done.append("read")
        if not self.readable:
            self.readable = True
            raise Unavailable("The leader is being elected.")
        return await super().last(subjects, leader=leader)

    @asynccontextmanager
    async def tasks(self, consumer: Consumer, *, at_most: int) -> AsyncGenerator[Tasks]:
        async with super().tasks(consumer, at_most=at_most) as tasks:
            yield Witnessed(tasks, self)

    def said(self, slot: Slot) -> Fact | None:
        """What is in a slot; of an outcome all but the time that it took."""
        fact = self.stored(slot)
        return replace(fact, duration_s=None) if isinstance(fact, StepOutcome) else fact

    def stored(self, slot: Slot) -> Fact | None:
        """All that is in a slot."""
        data = {message.subject: message.data for message in self.messages}.get(slot.subject)
        return envelope.decode(data, self.text_of(data)).fact if data else None

    def text_of(self, data: bytes) -> bytes | None:
        """What a message refers to."""
        text = self._texts.get(envelope.referenced_sha256(data) or "")
        return None if text is None else text.encode()

    def event(self, slot: Slot) -> Event:
        return envelope.decode({message.subject: message.data for message in self.messages}[slot.subject])


class Witnessed:
    """Tasks whose acknowledgements are on the record."""

    def __init__(self, tasks: Tasks, log: Witness) -> None:
        self._tasks = tasks
        self._log = log
        self.release = tasks.release
        self.close = tasks.close

    async def __aiter__(self) -> AsyncGenerator[Sequence[TaskDelivery]]:
        async for deliveries in self._tasks:
            self._log.handed_out += len(deliveries)
            yield [WitnessedDelivery(delivery, self._log) for delivery in deliveries]


class WitnessedDelivery:
    """One of them."""

    def __init__(self, delivery: TaskDelivery, log: Witness) -> None:
        self._delivery = delivery
        self._log = log
        self.message = delivery.message
        self.deliveries = delivery.deliveries
        self.fresh = delivery.fresh

    async def ack(self) -> None:
        self._log.done.append("ack")
        await self._delivery.ack()

    async def nak(self) -> None:
        self._log.done.append("nak")
        await self._delivery.nak()

    async def renew(self) -> None:
        if self._log.renewals_hang:
            await asyncio.Event().wait()
        if not self._log.renewable:
            raise Unavailable("The server is gone.")
        self._log.done.append("renew")
        await self._delivery.renew()
