"""A log on a real server, and what the tests do with one."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from shared.contracts.messages import Message
from shared.contracts.subjects import RESEARCH
from shared.contracts.topology import Limits
from shared.nats import topology
from shared.nats.connection import Connection
from shared.nats.jetstream import JetStreamLog
from tests.harness.waiting import PATIENCE_S
from tests.nats_server import NatsServer


@asynccontextmanager
async def opened(url: str, limits: Limits | None = None) -> AsyncGenerator[JetStreamLog]:
    """A log with everything set up that it needs."""
    connection = await Connection.open([url], name="test")
    await topology.ensure_topology(connection, limits or Limits())
    log = JetStreamLog(connection)
    try:
        yield log
    finally:
        await log.close()


@asynccontextmanager
async def beside(work: Coroutine[None, None, None]) -> AsyncGenerator[asyncio.Task[None]]:
    """Work that goes on for as long as the block does."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def stored(log: JetStreamLog, pattern: str = "research.run.>") -> list[Message]:
    return [message async for message in log.history(pattern)]


class Heard:
    """What a subscriber of plain NATS hears, or a follower of the log."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def listen(self, log: JetStreamLog, subject: str) -> None:
        await log.link.subscribe(subject, self.messages.append)

    async def follow(self, log: JetStreamLog, after: int = 0) -> None:
        async for chunk in log.follow(after):
            self.messages += chunk

    @property
    def seqs(self) -> list[int]:
        return [message.seq for message in self.messages]


async def killed_and_restarted(server: NatsServer) -> None:
    server.kill()
    await asyncio.to_thread(server.start)


async def in_flight(log: JetStreamLog, consumer: str, count: int) -> None:
    """Return when the server has handed out so many that are not acknowledged."""
    async with asyncio.timeout(PATIENCE_S):
        while await info(log, f"CONSUMER.INFO.{RESEARCH}.{consumer}", "num_ack_pending") != count:
            continue


async def info(log: JetStreamLog, call: str, *path: str) -> Any:
    answer: Any = await topology.request_api(log.link, call)
    for name in path:
        answer = answer[name]
    return answer
