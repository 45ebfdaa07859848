"""The load: asks, approves as soon as a hold opens, and takes the time until the run completes.

As light as can be, on one connection, so that it is not what is measured.
"""

import asyncio
import time
from typing import Final, NamedTuple

import msgspec
import nats
from msgspec import Struct
from nats.aio.client import Client as Connection
from nats.aio.msg import Msg

_WITHIN_S: Final = 120.0


class _Ended(Struct):
    ok: bool


class _Completed(Struct):
    subject: str
    data: _Ended


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(_Completed).decode


class Load(NamedTuple):
    """What the runs took: from the first request to the last completion, and each of them, shortest first."""

    seconds: float
    each_ms: list[float]


class Driver:
    """One connection that plays everybody outside: who asks, who approves, who listens."""

    def __init__(self, connection: Connection) -> None:
        self._nats = connection
        self._inbox = connection.new_inbox()
        self._acks: dict[str, asyncio.Future[None]] = {}
        self._ends: dict[str, asyncio.Future[None]] = {}

    @classmethod
    async def open(cls, url: str) -> "Driver":
        """Connect, and listen to acks, holds and completions."""
        driver = cls(await nats.connect(url))
        for subject, hear in (
            (f"{driver._inbox}.*", driver._acknowledged),
            ("research.run.*.hold.*", driver._approve),
            ("research.completed", driver._completed),
        ):
            await driver._nats.subscribe(subject, cb=hear, pending_msgs_limit=-1, pending_bytes_limit=-1)
        await driver._nats.flush()
        return driver

    async def close(self) -> None:
        """End the connection."""
        await self._nats.close()

    async def load(self, prefix: str, *, runs: int, concurrency: int) -> Load:
        """Take so many runs from request to completion, so many at once. Raises where one does not end well."""
        gate, each_ms, began = asyncio.Semaphore(concurrency), [], time.perf_counter()

        async def one(run: str) -> None:
            async with gate:
                each_ms.append(await self._take(run) * 1_000)

        async with asyncio.timeout(_WITHIN_S), asyncio.TaskGroup() as group:
            for number in range(runs):
                group.create_task(one(f"{prefix}{number}"))
        return Load(time.perf_counter() - began, sorted(each_ms))

    async def _take(self, run: str) -> float:
        began, loop = time.perf_counter(), asyncio.get_running_loop()
        ended = self._ends[run] = loop.create_future()
        acknowledged = self._acks[run] = loop.create_future()
        request = _encode({"q": "What does the fox do?", "run_id": run})
        await self._nats.publish("research.requested", request, reply=f"{self._inbox}.{run}")
        await acknowledged
        await ended
        return time.perf_counter() - began

    async def _acknowledged(self, message: Msg) -> None:
        acknowledged = self._acks.pop(message.subject.rsplit(".", 1)[1])
        if b'"error"' in message.data:
            acknowledged.set_exception(RuntimeError(message.data.decode()))
        else:
            acknowledged.set_result(None)

    async def _approve(self, message: Msg) -> None:
        run = message.subject.split(".")[2]
        await self._nats.publish("research.approved", _encode({"run_id": run, "by": "bench"}))

    async def _completed(self, message: Msg) -> None:
        completed = _decode(message.data)
        ended = self._ends.pop(completed.subject)
        if completed.data.ok:
            ended.set_result(None)
        else:
            ended.set_exception(RuntimeError(message.data.decode()))
