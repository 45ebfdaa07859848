"""What is handed out: the client's side of a standing order for tasks, which does not outlive its connection."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from shared.contracts.subjects import Step, parse_slot
from shared.runtime.log import Consumer, TaskDelivery, Tasks
from tests.simulation.loop import OUTSIDE

if TYPE_CHECKING:
    from tests.simulation.network import Connection, Network

T = TypeVar("T")


def at_once(doing: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing."""
    try:
        doing.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("It waits.")


class Order:
    """`Tasks`: the client's side of a standing order. The server's side is forgotten with the connection."""

    def __init__(self, connection: "Connection", network: "Network", consumer: Consumer, at_most: int) -> None:
        self._connection = connection
        self._network = network
        self._consumer: Consumer = consumer
        self._at_most = at_most
        self._held = 0
        self._arrived: list[Handed] = []
        self._news = asyncio.Event()
        self._closed = False
        self._serving: asyncio.Task[None] | None = None
        self._at_server: Tasks | None = None

    async def __aiter__(self) -> "AsyncIterator[Sequence[Handed]]":
        while not self._closed:
            await self._news.wait()
            self._news.clear()
            if taken := self._arrived:
                self._arrived = []
                yield taken

    async def release(self, count: int = 1) -> None:
        self._held -= count
        if count and self._connection.up and not self._connection.host.dead:
            now = self._network.loop.time()
            self._network.later(now + self._connection.delay_s(), self._free, self._connection.session, count)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._news.set()
        self.forget(0.0)
        for handed in self._arrived:
            await handed.nak()

    def place(self) -> None:
        """Ask for as many as there is room for."""
        if self._closed:
            return
        self.forget(0.0)
        session, free = self._connection.session, self._at_most - self._held
        self._serving = self._network.loop.create_task(self._serve(session, free), context=OUTSIDE)

    def forget(self, after_s: float) -> None:
        """The server hands out no more for this order, after a while."""
        if serving := self._serving:
            self._serving = None
            if after_s:
                self._network.later(self._network.loop.time() + after_s, serving.cancel)
            else:
                serving.cancel()

    async def _serve(self, session: int, free: int) -> None:
        await asyncio.sleep(self._connection.delay_s())
        async with self._network.log.tasks(self._consumer, at_most=free) as tasks:
            self._at_server = tasks
            async for deliveries in tasks:
                for delivery in deliveries:
                    self._hand(session, delivery)

    def _hand(self, session: int, delivery: TaskDelivery) -> None:
        loop, host = self._network.loop, self._connection.host
        subject = delivery.message.subject.removeprefix("research.")
        if self._consumer != "lead" or delivery.deliveries:
            self._network.say(host.name, f"is handed {subject}, for the {delivery.deliveries}. time")
        handed = Handed(self._connection, delivery, loop.time())
        self._network.later(loop.time() + self._connection.delay_s(), self._arrive, session, handed)

    def _arrive(self, session: int, handed: "Handed") -> None:
        if session == self._connection.session and not self._closed:
            self._held += 1
            handed.arrive()
            self._arrived.append(handed)
            self._news.set()

    def _free(self, session: int, count: int) -> None:
        if session == self._connection.session and self._at_server:
            at_once(self._at_server.release(count))


class Handed:
    """`TaskDelivery`: one task as it reached this process."""

    def __init__(self, connection: "Connection", delivery: TaskDelivery, at: float) -> None:
        self._connection = connection
        self._delivery = delivery
        self.message = delivery.message
        self.deliveries = delivery.deliveries
        self.fresh = False
        self._handed_at = at

    def arrive(self) -> None:
        """It is here, and judged by what this process knows by now."""
        self.fresh = self._connection.horizon.admit(self.message, self.deliveries)
        slot = parse_slot(self.message.subject)
        if slot and slot.kind:
            outcome = Step(slot.run, slot.kind, slot.round, slot.index).outcome.subject
            self._connection.known_at[outcome] = self._handed_at

    @property
    def _name(self) -> str:
        return self.message.subject.removeprefix("research.")

    async def ack(self) -> None:
        await self._connection.post(f"ack {self._name}", lambda: at_once(self._delivery.ack()))

    async def nak(self) -> None:
        await self._connection.post(f"nak {self._name}", lambda: at_once(self._delivery.nak()))

    async def renew(self) -> None:
        await self._connection.ask(f"renew {self._name}", lambda: at_once(self._delivery.renew()))
