"""Never more in hand than was agreed, also when the server or the way to it was gone for a moment."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.contracts.messages import Fill
from shared.contracts.subjects import RESEARCH
from shared.contracts.topology import ACK_WAIT_S, Limits
from shared.nats import pull
from shared.nats.jetstream import JetStreamLog
from shared.nats.pull import Pull
from shared.runtime.log import Tasks
from tests.harness.server import NatsServer as Frozen
from tests.harness.waiting import PATIENCE_S
from tests.nats_server import NatsServer
from tests.runtime.real import beside, in_flight, info, killed_and_restarted, opened
from tests.waiting import wait_until


class Window:
    """A standing pull whose taker lets go of nothing by itself."""

    def __init__(self, log: JetStreamLog, size: int) -> None:
        self.held = 0
        self._log = log
        self._pull = Pull(log.link, RESEARCH, "fetch", window=size)

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        await self._pull.open()
        async with beside(self._take()):
            yield
        await self._pull.close()

    async def _take(self) -> None:
        while True:
            taken = await self._pull.take()
            self.held += len(taken)

    async def release(self, count: int) -> None:
        self.held -= count
        await self._pull.release(count)

    async def holds_just(self, count: int) -> None:
        """So many come and no more: the server answers in order, so what it was to hand out precedes these answers."""
        await wait_until(lambda: self.held >= count)
        for _ in range(20):
            await self._log.end()
        assert self.held == count


def fetches(count: int, run: str = "r1") -> list[Fill]:
    return [Fill(f"research.run.{run}.task.fetch.1.{index}.1", b"x") for index in range(count)]


async def test_a_process_that_stood_still_holds_no_more_than_its_window(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pull, "_HEARTBEAT_S", 0.2)

    async with opened(url) as log:
        window = Window(log, 2)
        async with window.open():
            await log.end()
            time.sleep(1)  # noqa: ASYNC251  the very thing that is tried
            await asyncio.sleep(0.5)
            await log.fill(fetches(10))
            await window.holds_just(2)


async def test_a_server_that_stood_still_hands_out_no_more_than_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pull, "_HEARTBEAT_S", 0.2)
    server = Frozen(tmp_path)
    server.start()

    try:
        async with opened(server.url) as log:
            window = Window(log, 2)
            async with window.open():
                await log.end()
                server.freeze()
                await asyncio.sleep(1)
                server.thaw()
                await log.fill(fetches(10))
                await window.holds_just(2)
    finally:
        server.kill()


async def test_a_standing_pull_never_holds_more_than_its_window(url: str):
    async with opened(url, Limits(fetches=100)) as log:
        await log.fill(fetches(30))
        window = Window(log, 5)
        async with window.open():
            for freed in (0, 1, 2, 5, 3):
                await window.release(freed)
                await window.holds_just(5)


async def test_a_standing_pull_keeps_to_its_window_when_the_server_comes_back(server: NatsServer):
    async with opened(server.url, Limits(fetches=100)) as log:
        window = Window(log, 5)
        async with window.open():
            await log.fill(fetches(3))
            await window.holds_just(3)
            await killed_and_restarted(server)
            await log.fill(fetches(10, "r2"))
            await window.holds_just(5)


class Gate:
    """A way to a server that can be cut: the server lives on, and may still know what it was asked."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: list[asyncio.StreamWriter] = []
        self._clear = asyncio.Event()
        self._clear.set()

    async def start(self) -> str:
        """The address to connect to."""
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._open += [writer, far_writer]
        await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer), return_exceptions=True)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._clear.wait()
            writer.write(data)
        writer.close()

    def hold(self) -> None:
        """Let nothing through for now."""
        self._clear.clear()

    def release(self) -> None:
        """Let everything through, what was held first."""
        self._clear.set()

    def cut(self) -> None:
        for writer in self._open:
            writer.transport.abort()
        self._open.clear()

    async def stop(self) -> None:
        self._server.close()
        self.cut()


async def test_a_standing_pull_keeps_to_its_window_when_only_the_connection_was_cut(server: NatsServer):
    gate = Gate(server.port)
    async with asyncio.timeout(PATIENCE_S), opened(await gate.start(), Limits(fetches=100)) as log:
        window = Window(log, 5)
        async with window.open():
            for run in ("r1", "r2", "r3"):
                gate.cut()
                await wait_until(lambda: not log.link.connected)
                await log.fill(fetches(20, run))
                await window.holds_just(5)
    await gate.stop()


async def test_a_worker_that_stops_gives_back_what_it_never_looked_at(url: str):
    async with opened(url) as log:
        await log.fill(fetches(1))
        async with log.tasks("fetch", at_most=5) as tasks:
            await anext(aiter(tasks))
            await log.fill(fetches(4, "r2"))
            await in_flight(log, "fetch", 5)
        async with log.tasks("fetch", at_most=5) as others, asyncio.timeout(ACK_WAIT_S / 2):
            taken = await anext(aiter(others))
        assert {delivery.message.subject.split(".")[2] for delivery in taken} == {"r2"}


async def test_a_worker_that_stops_gives_back_what_was_on_its_way_to_it(server: NatsServer):
    gate = Gate(server.port)
    async with asyncio.timeout(PATIENCE_S), opened(server.url) as outside, opened(await gate.start()) as log:
        async with log.tasks("fetch", at_most=5) as tasks, beside(drained(tasks)):
            await waits(outside, "fetch")
            gate.hold()
            await outside.fill(fetches(3))
            await in_flight(outside, "fetch", 3)
            closing = asyncio.create_task(tasks.close())
            await asyncio.sleep(0)
            gate.release()
            await closing
        taken = 0
        async with outside.tasks("fetch", at_most=5) as others, asyncio.timeout(ACK_WAIT_S / 2):
            async for deliveries in others:
                taken += len(deliveries)
                if taken == 3:
                    break
        assert taken == 3
    await gate.stop()


async def drained(tasks: Tasks) -> None:
    """Take what comes, and do nothing about it."""
    async for _ in tasks:
        pass


async def waits(log: JetStreamLog, consumer: str) -> None:
    """Return when somebody has asked for messages of this consumer."""
    async with asyncio.timeout(PATIENCE_S):
        while not await info(log, f"CONSUMER.INFO.{RESEARCH}.{consumer}", "num_waiting"):
            continue
