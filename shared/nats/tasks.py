"""Tasks that a durable consumer hands out."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

import msgspec

from shared.nats import topology
from shared.nats.client import Incoming
from shared.nats.connection import Connection
from shared.nats.horizon import Horizon
from shared.nats.pull import Pull
from shared.nats.stored import parse_delivered
from shared.runtime.aio import run_until
from shared.runtime.log import Consumer

_PROGRESS: Final = b"+WPI"
_NS: Final = 1_000_000_000


class JetStreamTasks:
    """`Tasks` of one consumer."""

    def __init__(self, link: Connection, stream: str, consumer: Consumer, at_most: int, horizon: Horizon) -> None:
        self._link = link
        self._stream = stream
        self._consumer: Consumer = consumer
        self._horizon = horizon
        self._faults: int | None = None
        self._pull = Pull(link, stream, consumer, window=at_most)
        self._closed = asyncio.Event()

    async def __aiter__(self) -> "AsyncIterator[Sequence[JetStreamDelivery]]":
        """Yield chunks of tasks as they come, until closed. Waits until the consumer exists.

        After each fault of the pull, the horizon is reset: the server may have forgotten deliveries.
        """
        await run_until(self._closed, self._open())
        while not self._closed.is_set():
            taken = await self._pull.take()
            if self._pull.faults != self._faults:
                self._faults = self._pull.faults
                self._horizon.reset()
            if taken:
                yield [JetStreamDelivery(self._link, message, self._horizon) for message in taken]

    async def release(self, count: int = 1) -> None:
        """Free the places of `count` tasks, so that as many more may come."""
        await self._pull.release(count)

    async def close(self) -> None:
        """Take no more, and give back the tasks that came and were not yielded."""
        self._closed.set()
        await self._pull.close()
        for message in self._pull.take_rest():
            await JetStreamDelivery(self._link, message, self._horizon).nak()

    async def _open(self) -> None:
        """Wait for the consumer, then place the pull."""
        await topology.wait_for_consumer(self._link, self._consumer, stream=self._stream)
        await self._pull.open()


class JetStreamDelivery:
    """`TaskDelivery` of JetStream. Making it raises the horizon."""

    def __init__(self, link: Connection, incoming: Incoming, horizon: Horizon) -> None:
        self._link = link
        self._reply = incoming.reply
        self.deliveries, _, self.message = parse_delivered(incoming)
        self.fresh = link.connected and horizon.admit(self.message, self.deliveries)

    async def ack(self) -> None:
        """Send the acknowledgement, which is not confirmed. Raises `Unavailable` while disconnected."""
        await self._link.post(self._reply, b"+ACK")

    async def nak(self, *, delay_s: float = 0.0) -> None:
        """Give the task back, to be handed out again after `delay_s` seconds."""
        later = msgspec.json.encode({"delay": int(delay_s * _NS)}) if delay_s > 0 else b""
        await self._link.post(self._reply, b"-NAK " + later if later else b"-NAK")

    async def renew(self) -> None:
        """Ask for another `ack_wait`. Raises `Unavailable` unless the server confirms."""
        await self._link.request(self._reply, _PROGRESS)
